"""Both lanes under generated requests: the same bytes must come back, over real TCP.

    python bench/lanes.py [--requests 50000] [--seed 1] [--minimal]

Starts a `mic static` of this checkout, which uses the compiled fast lane if it is installed or in
PYTHONPATH, with a plain host, one with kernel arguments, and one whose archive goes to the end of
the image; ``--minimal`` has them as minimal ISOs. Each group of requests goes out twice, on a
connection of its own: as it is, and with a field that keeps every request from the fast lane. Two
in five are what a BMC sends; the others have one or two parts that are unusual, forbidden or
garbage. The answers, without their dates, must be equal, complete, and right: of an image every
byte is compared. Prints what was answered, and each difference with the requests that lead to it;
the status is 1 when there was one.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from functional.daemon import Daemon  # noqa: E402
from functional.media import Server, make_hosts, make_media, tcp_client  # noqa: E402
from toys import Bytes  # noqa: E402

from mic.media.coreos import embed_area, kernel_arguments  # noqa: E402
from mic.media.iso9660 import Iso  # noqa: E402

KEEPS_OFF = b"X-Keeps-Off: the fast lane"
SMALL = 64 * 1024
_DATE = re.compile(rb"\r\nDate: [^\r]*")
_HEAD = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
_SHOWN = 5

HOST = b"Host: mic.example:8084"
USUAL = [
    *(b"User-Agent: BMC/1.0 (x; y)", b"Accept: */*", b"accept-encoding: gzip, identity"),
    *(b"Connection: keep-alive", b"Authorization: Basic eA==", b"Cache-Control: no-cache"),
    *(b"PRAGMA:no-cache", b"Accept-Language:", b"user-agent:   "),
]
METHODS = [b"HEAD", b"HEAD", b"PUT", b"POST", b"OPTIONS", b"get", b"BREW", b"CONNECT", b"G(T"]
TARGETS = [
    *(b"/a/b/worker-0.iso", b"//worker-0.iso", b"/../worker-0.iso", b"/worker-0.initramfs"),
    *(b"/worker%2D0.iso", b"/worker-0.iso?", b"/worker-0.iso?a=/b", b"/none.iso", b"/", b"*"),
    *(b"http://mic.example/worker-0.iso", b"HTTP://other:1/a/worker-0.iso", b"http://mic.example"),
    *(b"worker-0.iso", b"?x", b"/worker-0.iso\x80", b"/worker-0.iso%", b"/" + b"a/" * 2000),
    *(b"/worker-0.iso#x", b"mic.example:80", b"http:///worker-0.iso", b"/a b", b"/\0"),
]
VERSIONS = [b"1.0", b"1.0", b"1.2", b"2.0", b"0.9", b"1.10", b"1", b"1.1 ", b"x"]
HOSTS = [
    *([], [HOST, HOST], [HOST, b"host: other"], [b"Host:"], [b"host:mic"], [b"HOST:  [::1]:80  "]),
    *([b"Host: mic example"], [b"Host: mic/example"], [b"Host: mic`"], [b"Host: \xe9"]),
    *([b"Host: \t mic \t"], [b"Host : mic"], [b"Host: mic", b" folded"], [b"Host: a@b"]),
    *([b"Host: " + bytes([each])] for each in range(0x20, 0x80)),
    [b"Host: !$%&'()*+,-.:;=[]_~"],
]
RANGES = [
    *(b"bytes=-1", b"bytes=5-", b"bytes=0-0,2-3", b"bytes=", b"bytes=-", b"bytes=-0", b"bytes=9-1"),
    *(b"lines=1-2", b"BYTES=1-2", b"bytes =1-2", b"bytes=1-2 ", b"bytes= 1-2", b"bytes=1 -2"),
    *(
        b"bytes=1_0-20",
        b"bytes=+1-2",
        b"bytes=1-+2",
        b"bytes=\xb2-9",
        b"bytes=0x1-2",
        b"bytes=1-2,",
    ),
    *(b"bytes=%b-" % (b"9" * n) for n in (18, 19, 20, 21, 30, 400)),
    *(b"bytes=5-%b" % (b"9" * n) for n in (18, 19, 20, 21, 30, 400)),
    *(b"bytes=-%b" % (b"9" * n) for n in (18, 19, 20, 21, 30, 400)),
    *(b"bytes=%b7-%b9" % (b"0" * n, b"0" * n) for n in (1, 16, 17, 18, 30, 400)),
    b"bytes=%b-%b" % (b"9" * 31, b"9" * 30),
]
FIELDS = [
    *(b"Connection: close", b"Connection: keep-alive, close", b"Connection: TE", b"Connection:"),
    *(b"If-Match: *", b"If-None-Match: *", b'If-Match: "x"', b'If-Range: "x"', b"If-Range: x"),
    *(b"If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT", b"If-Unmodified-Since: x"),
    *(
        b"Range: bytes=7-8",
        b"range: bytes=7-8",
        b"Accept: caf\xe9",
        b"Accept: \x01",
        b"Accept: a\tb",
    ),
    *(b" folded", b"\tfolded", b"Accept : x", b": x", b"nonsense", b"A\0: b", b"A: \0", b"A: b\rc"),
    *(b"A: b\nc", b"A: b\r", b"Expect: 100-continue", b"Expect: x", b"Accept: " + b"x" * 3000),
    *(b"A: " + b"b" * 17_000, b"Cookie: a=b; c", b"TE: trailers", b"Upgrade: h2c", b"Trailer: A"),
]
LENGTHS = [
    *(b"0", b"00", b"3", b"-1", b"+3", b"3, 3", b"0x3", b"3_0", b"", b"65537", b"9" * 30),
    *(b"9" * 5000, b"3 3", b"\xb2"),
]
CODINGS = [
    *(b"chunked", b"chunked", b"Chunked", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip"),
    *(b"chunked, chunked", b"identity, chunked", b"", b"chunked;a=b", b"xchunked"),
]
CHUNKS = [
    *(b"0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"3;a=b\r\nabc\r\n0;c\r\nA: b\r\n\r\n", b"0\n\n"),
    *(
        b"0\r\nnonsense\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"x\r\n",
        b"-3\r\n",
        b"fffff\r\n",
        b"3\r\nabcd",
    ),
    *(b"f" * 500 + b"\r\n", b"0\r\r"),
]


@dataclass(slots=True)
class Request:
    """A request in parts; ``odd`` counts the parts that a BMC would not send."""

    method: bytes = b"GET"
    target: bytes = b"/worker-0.iso"
    version: bytes = b"1.1"
    host: list[bytes] = field(default_factory=lambda: [HOST])
    span: bytes | None = None
    before: list[bytes] = field(default_factory=list)
    after: list[bytes] = field(default_factory=list)
    body: bytes = b""
    end: bytes = b"\r\n"
    odd: int = 0

    def sent(self, *more: bytes) -> bytes:
        """The bytes, with more fields behind the others."""
        span = [b"Range: " + self.span] if self.span is not None else []
        line = b"%b %b HTTP/%b" % (self.method, self.target, self.version)
        lines = [line, *self.before, *self.host, *span, *self.after, *more, b"", b""]
        return self.end.join(lines) + self.body


@dataclass(frozen=True, slots=True)
class Image:
    """An image as it ought to be, and the offsets where something of its host's begins or ends."""

    target: bytes
    data: bytes = field(repr=False)
    edges: tuple[int, ...]


class Generator:
    """Makes requests of images."""

    def __init__(self, dice: random.Random, images: Sequence[Image]) -> None:
        self._dice = dice
        self._images = images
        self._oddities: tuple[Callable[[Request], None], ...] = (
            *(self._method, self._target, self._version, self._host, self._host, self._span),
            *(self._span, self._no_span, self._field, self._field, self._length, self._coding),
            *(self._lengths, self._end, self._garbage),
        )

    def group(self, most: int) -> list[Request]:
        """Up to ``most`` requests for one connection: one that may end it comes last."""
        requests = []
        for _ in range(self._dice.randint(1, most)):
            requests.append(self._request())
            if requests[-1].odd:
                # What follows is not read then, and resets the connection: an end may be lost.
                break
        return requests

    def _request(self) -> Request:
        dice = self._dice
        image = dice.choice(self._images)
        request = Request(target=image.target, span=self._closed(image))
        request.before = dice.sample(USUAL, dice.choice([0, 0, 1, 2]))
        request.after = dice.sample(USUAL, dice.choice([0, 0, 1, 2]))
        if dice.random() < 0.05:
            request.after.append(b"Content-Length: 3")
            request.body = b"\r\na"
        if dice.random() < 0.1:
            # Behind the range instead of before it.
            request.after, request.host = [*request.after, *request.host], []
        for _ in range(dice.choice([0, 0, 1, 1, 2])):
            request.odd += 1
            dice.choice(self._oddities)(request)
        return request

    def _closed(self, image: Image) -> bytes:
        """A range as a BMC asks for it, often where something begins or ends."""
        dice = self._dice
        start = dice.randrange(len(image.data))
        if dice.random() < 0.5:
            start = max(dice.choice(image.edges) + dice.randint(-3, 3), 0)
        length = dice.choice([1, 512, 2048, SMALL - 1, SMALL, SMALL + 1, dice.randint(1, SMALL)])
        return b"bytes=%d-%d" % (start, start + length - 1)

    def _method(self, request: Request) -> None:
        request.method = self._dice.choice(METHODS)

    def _target(self, request: Request) -> None:
        request.target = self._dice.choice(TARGETS)

    def _version(self, request: Request) -> None:
        request.version = self._dice.choice(VERSIONS)
        request.after += [b"Connection: keep-alive"] * self._dice.randint(0, 1)
        request.host = self._dice.choice([request.host, []])

    def _host(self, request: Request) -> None:
        request.host = self._dice.choice(HOSTS)

    def _span(self, request: Request) -> None:
        request.span = self._dice.choice(RANGES)

    def _no_span(self, request: Request) -> None:
        request.span = None

    def _field(self, request: Request) -> None:
        self._dice.choice([request.before, request.after]).append(self._dice.choice(FIELDS))

    def _length(self, request: Request) -> None:
        length = self._dice.choice(LENGTHS)
        request.after.append(b"Content-Length: " + length)
        request.body = b"abc" if length == b"3" else b""

    def _lengths(self, request: Request) -> None:
        self._length(request)
        self._dice.choice([self._length, self._coding])(request)

    def _coding(self, request: Request) -> None:
        request.after.append(b"Transfer-Encoding: " + self._dice.choice(CODINGS))
        request.body = self._dice.choice(CHUNKS)

    def _end(self, request: Request) -> None:
        request.end = self._dice.choice([b"\n", b"\n", b"\r", b"\r\r\n", b"\n\r"])

    def _garbage(self, request: Request) -> None:
        part = self._dice.choice(["method", "target", "version", "span"])
        # An end of a line may be the end of the head, and the other field not in it then.
        garbage = self._dice.randbytes(self._dice.randint(0, 20)).replace(b"\n", b"")
        setattr(request, part, garbage)


def exchange(server: Server, data: bytes, cuts: list[int]) -> bytes:
    """All that comes back for ``data``, sent in pieces of these lengths."""
    with server.connect() as wire:
        # It may close before it has read all, and say why: that is still to be read.
        with suppress(OSError):
            for cut in cuts:
                wire.send(data[:cut])
                data = data[cut:]
            wire.send(data)
            wire.half_close()
        return _DATE.sub(b"", wire.rest())


def answers(data: bytes, requests: list[Request]) -> Iterator[tuple[int, bytes, bytes]]:
    """Status, header fields and body of each answer. Raises `ValueError` where one is not whole."""
    waiting = [request.method for request in requests]
    while data:
        match = _HEAD.match(data)
        if match is None:
            raise ValueError(f"no head of an answer: {data[:200]!r}")
        status, fields, data = int(match[1]), match[2], data[match.end() :]
        if status == 100:
            continue
        if not waiting:
            raise ValueError("there are more answers than requests")
        method = waiting.pop(0)
        length = re.search(rb"Content-Length: (\d+)", fields)
        size = 0 if method == b"HEAD" or length is None else int(length[1])
        if len(data) < size:
            raise ValueError(f"{size - len(data)} bytes are missing from an answer")
        yield status, fields, data[:size]
        data = data[size:]


def wrong(images: Sequence[Image], fields: bytes, status: int, body: bytes, method: bytes) -> str:
    """What is wrong with an answer by itself; nothing if it may be right."""
    if b"Server: mic" not in fields.split(b"\r\n"):
        return "it does not name mic"
    found = re.search(rb"Content-Range: bytes (\d+)-(\d+)/(\d+)", fields)
    if status != 206 or found is None or method == b"HEAD":
        return ""
    for image in images:
        size = len(image.data)
        if int(found[3]) == size and image.data[int(found[1]) : int(found[2]) + 1] == body:
            return ""
    return "its bytes are not those of the image"


@contextmanager
def running(directory: Path, *, minimal: bool) -> Iterator[Server]:
    """A mic that serves a plain host and two customised ones."""
    media = make_media(directory / "media", 1024 * 1024).write()
    hosts = make_hosts(directory / "hosts", *(f"worker-{number}.yaml" for number in range(3)))
    (hosts / "worker-1.kargs").write_text("quiet console=ttyS0")
    noise = random.Random(0).randbytes(200 * 1024).hex()
    (hosts / "worker-2.ign").write_text(f'{{"ignition": {{"version": "3.2.0"}}, "x": "{noise}"}}')
    flags = ["static", "-images-bind-addr=127.0.0.1:0", f"-nmstate-dir={hosts}"]
    environment = media.environment
    if minimal:
        environment |= {"MIC_ISO": "minimal", "IRONIC_ROOTFS_URL": "http://192.0.2.2/rootfs"}
    environment |= {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(ROOT)])}
    program = [sys.executable, "-c", "from mic.cli.main import main; main()"]
    daemon = Daemon(directory / "log", flags, environment, command=program)
    try:
        connect = tcp_client(*daemon.tcp)
        yield Server(way="tcp", daemon=daemon, media=media, connect_socket=connect)
        daemon.stop()
    finally:
        daemon.kill()


def served(server: Server) -> list[Image]:
    """The images, each as one answer of the normal way."""
    images = []
    for number in range(3):
        target = f"/worker-{number}.iso"
        data = server.get(target).body
        source = Bytes(data)
        iso = Iso(source)
        arguments = kernel_arguments(iso, source)
        places = [embed_area(iso, source), *(area.extent for area in arguments.areas)]
        ends = [edge for each in places for edge in (each.offset, each.offset + each.length)]
        images.append(Image(target.encode(), data, (0, SMALL, *ends, len(data))))
    return images


def main() -> int:
    """Run; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minimal", action="store_true", help="serve minimal ISOs")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    sent, plain, statuses = 0, 0, Counter[int]()
    differences: list[str] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder), minimal=options.minimal) as server,
    ):
        loaded = Path(f"/proc/{server.daemon.pid}/maps").read_text()
        print("fast lane:", "compiled" if "/mic_native." in loaded else "Python", flush=True)
        images = served(server)
        generator = Generator(dice, images)
        others = Image(b"/worker-0.initramfs", server.initramfs.data, ())
        while sent < options.requests:
            requests = generator.group(min(4, options.requests - sent))
            sent += len(requests)
            plain += sum(not (request.odd or request.body) for request in requests)
            cuts = [dice.randint(1, 300) for _ in range(dice.choice([0, 0, 0, 1, 2]))]
            one, other = (
                exchange(server, b"".join(request.sent(*more) for request in requests), cuts)
                for more in ((), (KEEPS_OFF,))
            )
            try:
                complaints = ["the lanes differ"] if one != other else []
                found = list(answers(one, requests))
                for (status, fields, body), request in zip(found, requests, strict=False):
                    statuses[status] += 1
                    complaints.append(
                        wrong([*images, others], fields, status, body, request.method)
                    )
            except ValueError as error:
                complaints.append(str(error))
            if any(complaints):
                text = "; ".join(filter(None, complaints))
                shown = [request.sent()[:1000] for request in requests]
                differences.append(
                    f"{text}:\n  sent {shown}\n  got {one[:300]!r}\n  and {other[:300]!r}"
                )
        print(
            f"{sent} requests, seed {options.seed}: {plain} plain ones, which the fast lane may "
            f"take; answers: {', '.join(f'{n} {code}' for code, n in sorted(statuses.items()))}"
        )
        print(*differences[:_SHOWN], f"{len(differences)} differences", sep="\n", flush=True)
        server.daemon.check()
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
