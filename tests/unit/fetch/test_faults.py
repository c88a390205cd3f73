"""Downloads from a server that lies: the file is right in the end, or what was there before is.

Over real TCP, with the whole of `mic.fetch` but the command around it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import pytest_twisted
from fetching import DIGEST, ISO, complete, fetched, files, there_before, wanted
from hypothesis import given, settings
from hypothesis import strategies as st
from lying_server import (
    Exchange,
    Trick,
    chunked,
    closed,
    compressed,
    corrupt,
    cut,
    drip,
    endless,
    endless_head,
    garbage,
    honest,
    ignore_range,
    length,
    other_version,
    redirect,
    serving,
    silent,
    status,
    too_long_part,
    without_length,
    wrong_range,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from mic.common.backoff import Backoff
from mic.fetch.failure import FetchError
from mic.fetch.transfer import Limits

IMPATIENT = Limits(
    connect=0.1,
    head=0.1,
    interval=0.2,
    least=1000,
    failures=2,
    size=1024 * 1024,
    backoff=Backoff(first=0.0, longest=0.0),
)
RECOVERABLE: dict[str, list[Trick]] = {
    "cut": [cut(0.5)],
    "cut twice": [cut(0.3), cut(0.5)],
    "reset": [cut(0.5, reset=True)],
    "cut before the body": [cut(0.0)],
    "closed without an answer": [closed],
    "server error": [status("500 Internal Server Error")],
    "overloaded": [status("503 Service Unavailable", "Retry-After: 0")],
    "too many requests": [status("429 Too Many Requests")],
    "200 for a range": [cut(0.5), ignore_range],
    "another range": [cut(0.5), wrong_range],
    "changed between the parts": [cut(0.5), other_version(same_tag=False)],
    "changed, and denied": [cut(0.5), other_version(same_tag=True)],
    "no such range": [cut(0.5), status("416 Range Not Satisfiable")],
    "longer than announced": [length(100)],
    "too long a part": [cut(0.5), too_long_part],
    "chunked": [chunked()],
    "chunked and cut": [chunked(0.5)],
    "without length": [without_length()],
    "redirected": [redirect("/elsewhere.iso")],
    "not HTTP": [garbage],
}


@pytest.mark.parametrize("tricks", RECOVERABLE.values(), ids=RECOVERABLE)
@pytest_twisted.ensureDeferred
async def test_recovers(tmp_path: Path, tricks: list[Trick]) -> None:
    there_before(tmp_path)
    with serving(ISO, *tricks) as server:
        result = await fetched(wanted(tmp_path, server, sha256=DIGEST))
    assert files(tmp_path) == complete()
    assert (result.sha256, result.size, result.is_new) == (DIGEST, len(ISO), True)


@pytest_twisted.ensureDeferred
async def test_continues_with_the_rest_of_the_same_version(tmp_path: Path) -> None:
    with serving(ISO, cut(0.5)) as server:
        await fetched(wanted(tmp_path, server))
    first, second = server.asked
    assert "range" not in first.fields
    assert second.fields["range"] == f"bytes={len(ISO) // 2}-"
    assert second.fields["if-range"].startswith('"')
    assert files(tmp_path) == complete()


ALWAYS = 10
HOPELESS: dict[str, tuple[list[Trick], str]] = {
    "cut": ([cut(0.0)] * ALWAYS, "the connection ended after 0 of"),
    "longer than announced": (
        [length(100)] * ALWAYS,
        "gave up after 3 attempts",
    ),
    "shorter than announced": ([length(-5000)], "its sha256 is"),
    "another digest": ([corrupt], f"expected is {DIGEST}"),
    "another version each time": (
        [cut(0.5), other_version(same_tag=True)] * 2,
        f"expected is {DIGEST}",
    ),
    "compressed": ([compressed], "compressed (Content-Encoding: gzip)"),
    "not found": ([status("404 Not Found")], "answers 404: there is no such file"),
    "forbidden": ([status("403 Forbidden")], "answers 403: access is forbidden"),
    "unauthorized": ([status("401 Unauthorized")], "answers 401: it wants other credentials"),
    "server error": ([status("500 Oops")] * ALWAYS, "answers 500; gave up after 3 attempts"),
    "no content": ([status("204 No Content")], "answers 204"),
    "a part": ([wrong_range], "answers 206, a part"),
    "endless": ([endless], "sends more than 1048576 bytes"),
    "endless head": ([endless_head], "the head of the response has more than 262144 bytes"),
    "too large": ([length(1024 * 1024)], "bytes; 1048576 are expected at most"),
    "circle": ([redirect("/again")] * 12, "more than 10 redirections"),
    "nowhere": ([status("302 Found")], "answers 302 without saying where"),
    "odd place": ([redirect("ftp://127.0.0.1/a")], "only http:// and https://"),
    "closed": ([closed] * ALWAYS, "gave up after 3 attempts"),
    "not HTTP": ([garbage] * ALWAYS, "gave up after 3 attempts"),
}


@pytest.mark.parametrize(("tricks", "words"), HOPELESS.values(), ids=HOPELESS)
@pytest_twisted.ensureDeferred
async def test_gives_up_and_changes_nothing(
    tmp_path: Path, tricks: list[Trick], words: str
) -> None:
    before = there_before(tmp_path)
    with serving(ISO, *tricks) as server, pytest.raises(FetchError) as caught:
        await fetched(wanted(tmp_path, server, sha256=DIGEST))
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"http://127.0.0.1:{server.port}/")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("trick", "words"),
    [(drip, "which is too slow"), (silent, "no answer from 127.0.0.1"), (cut(0.0), "ended after")],
)
@pytest_twisted.ensureDeferred
async def test_is_not_held_up(tmp_path: Path, trick: Trick, words: str) -> None:
    before = there_before(tmp_path)
    with serving(ISO, *[trick] * ALWAYS) as server, pytest.raises(FetchError, match=words):
        await fetched(wanted(tmp_path, server), limits=IMPATIENT)
    assert files(tmp_path) == before


@pytest_twisted.ensureDeferred
async def test_a_server_that_begins_again_and_again_makes_no_progress(tmp_path: Path) -> None:
    def begins_again(share: float) -> Trick:
        def answer(exchange: Exchange) -> None:
            exchange.honest_head(0)
            exchange.send(exchange.content[: int(len(exchange.content) * share)])

        return answer

    tricks = [begins_again(0.5), begins_again(0.1)] * 25
    with serving(ISO, *tricks) as server, pytest.raises(FetchError, match="gave up after 3"):
        await fetched(wanted(tmp_path, server))
    assert len(server.asked) < 8


@pytest_twisted.ensureDeferred
async def test_refuses_a_body_that_may_be_cut(tmp_path: Path) -> None:
    with serving(ISO, without_length(0.5)) as server, pytest.raises(FetchError, match="-sha256"):
        await fetched(wanted(tmp_path, server))
    assert files(tmp_path) == {}


TRICKS = st.sampled_from(
    [
        *(trick for tricks in RECOVERABLE.values() for trick in tricks),
        *(tricks[0] for tricks, _ in HOPELESS.values()),
        honest,
        chunked(0.9),
        without_length(0.7),
    ]
)


@given(
    tricks=st.lists(TRICKS, max_size=8),
    is_there=st.booleans(),
    resume=st.booleans(),
    again=st.booleans(),
)
@settings(max_examples=60)
def _file_is_right_or_what_was_before(
    tricks: list[Trick], is_there: bool, resume: bool, again: bool
) -> None:
    """Runs in a thread: the reactor runs the downloads meanwhile."""
    with tempfile.TemporaryDirectory() as name, serving(ISO, *tricks) as server:
        directory = Path(name)
        before = there_before(directory) if is_there else {}
        request = wanted(directory, server, sha256=DIGEST, resume=resume)
        for _ in range(2 if again else 1):
            try:
                blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(fetched(request)))
                before = complete()
            except FetchError:
                pass
            found = files(directory)
            left = {each for each in found if each.startswith(".")}
            assert {each: found[each] for each in found.keys() - left} == before
            assert not left or resume
            assert left <= {".coreos.iso.part", ".coreos.iso.part.json"}


@pytest_twisted.ensureDeferred
async def test_the_file_is_right_or_what_was_before() -> None:
    await deferToThread(_file_is_right_or_what_was_before)


@pytest_twisted.ensureDeferred
async def test_leaves_nothing_open(tmp_path: Path) -> None:
    def opened() -> set[str]:
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return {os.readlink(link) for link in links if os.path.exists(link)}

    before = {each for each in opened() if str(tmp_path) in each}
    with serving(ISO, corrupt) as server, pytest.raises(FetchError):
        await fetched(wanted(tmp_path, server, sha256=DIGEST, resume=True))
    assert {each for each in opened() if str(tmp_path) in each} == before
