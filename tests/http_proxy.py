"""An HTTP proxy, a process of its own: ``python http_proxy.py [--password PAIR] [--tls CERT KEY]``.

Prints its port, and then a line for each request: method and target. Every name leads to
127.0.0.1. ``--refuse STATUS`` answers all requests so.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(slots=True, kw_only=True)
class Proxy:
    """A running proxy; `requests` after it was stopped."""

    port: int
    process: subprocess.Popen[str]

    def requests(self) -> list[str]:
        self.process.terminate()
        out, _ = self.process.communicate(timeout=10)
        return out.splitlines()


@contextmanager
def proxying(*arguments: str) -> Iterator[Proxy]:
    command = [sys.executable, __file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Proxy(port=int(process.stdout.readline()), process=process)
        finally:
            process.kill()


class _Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._expected = f"basic {base64.b64encode(options.password.encode()).decode()}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = line.split()
        print(method, target, flush=True)
        pairs = {each.partition(":")[0].lower(): each.partition(":")[2] for each in fields}
        given = pairs.get("proxy-authorization", "").strip()
        status = self._options.refuse
        if self._options.password and given[:6].lower() + given[6:] != self._expected:
            status = "407 Proxy Authentication Required"
        if status:
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        there, back = await asyncio.open_connection("127.0.0.1", parts.port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
        else:
            kept = [each for each in fields if not each.lower().startswith("proxy-")]
            path = parts._replace(scheme="", netloc="").geturl()
            back.write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "", ""]).encode("latin-1"))
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _main(options: argparse.Namespace) -> None:
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    server = await asyncio.start_server(_Server(options).serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--password", default="")
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--refuse", default="")
    asyncio.run(_main(parser.parse_args()))
