"""The status page as HTML: what it says, and that nothing from outside becomes markup."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mic.common.health import Health
from mic.downloads.state import State
from mic.hosts.status import HostState, HostStatus
from mic.images.base_state import BaseState
from mic.media.base import Kind
from mic.statuspage.html import POLICY, render
from mic.statuspage.overview import LastRead, Overview, Process, Row
from mic.statuspage.query import Query, Show, Sort

PROCESS = Process(
    version="1.2",
    mode="static",
    started=1_000.0,
    now=1_600.0,
    addresses=("192.0.2.1:8084",),
    url="http://images.example.com",
    serving=True,
    health=Health(),
    bases=(
        BaseState(path="/srv/a.iso", kind=Kind.ISO, volume="coreos", size=2 << 30, digest="abc"),
        BaseState(path="/srv/b", kind=Kind.INITRAMFS, problem="base image /srv/b: No such file"),
    ),
)
READ = LastRead(
    client="192.0.2.7",
    kind="iso",
    state=State.DOWNLOADING,
    outdated=False,
    share=61.9,
    last=1_597.0,
)


def host(name: str = "w", state: HostState = HostState.READY, **more: object) -> HostStatus:
    return HostStatus(namespace="", name=name, state=state, **more)  # type: ignore[arg-type]


class Elements(HTMLParser):
    """The elements of a page, its text, and whether each element is closed."""

    VOID = ("meta", "link", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        # HTML allows to leave them open, but not in an order of our own.
        assert [tag for tag in self.open if tag != "p"] == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.found if each == tag]


EVERYTHING = Query()


def page(*rows: Row, query: Query = EVERYTHING, process: Process = PROCESS) -> Elements:
    return Elements(render(Overview(process=process, rows=rows), query).decode())


def test_a_row_says_all_about_a_host() -> None:
    status = host(
        network="bond0.100 192.0.2.20/24",
        warnings=("interfaces[0].ipv4: off",),
        since=1_300.0,
    )
    found = page(Row(host=status, read=READ, published=True))
    for text in (
        *("bond0.100 192.0.2.20/24", "ready", "interfaces[0].ipv4: off", "5 min"),
        *("192.0.2.7", "downloading", "3 s ago", "61.9 %"),
    ):
        assert text in found.text, text
    (bar,) = found.tags("progress")
    assert (bar["value"], bar["max"]) == ("61.9", "100")


def test_names_the_reason_of_a_host_without_an_image() -> None:
    found = page(Row(host=host(state=HostState.FAILED, reason="interfaces[0]: bad")))
    assert "no image" in found.text
    assert "interfaces[0]: bad" in found.text
    assert "never read" not in found.text.partition("Since")[2]


def test_says_that_a_published_image_was_never_read() -> None:
    assert "never read" in page(Row(host=host(), published=True)).text.partition("Since")[2]


def test_an_older_version_has_no_progress() -> None:
    found = page(Row(host=host(), read=replace(READ, outdated=True), published=True))
    assert "older version" in found.text
    assert not found.tags("progress")


@pytest.mark.parametrize(
    ("change", "title", "sentence"),
    [
        ({}, "mic: ready", "Images are served."),
        ({"serving": False}, "mic: starting", "as soon as all hosts are built"),
        ({"health": Health(not_ready=("no ISO",))}, "mic: not ready", "no ISO"),
        ({"health": Health(fatal=("a worker",))}, "mic: broken", "a worker"),
        ({"health": Health(warnings=("w: odd",))}, "mic: ready", "w: odd"),
    ],
)
def test_readiness_is_in_words(change: dict[str, object], title: str, sentence: str) -> None:
    found = page(process=replace(PROCESS, **change))  # type: ignore[arg-type]
    assert title in found.text
    assert sentence in found.text


def test_lists_base_images() -> None:
    text = page().text
    assert "/srv/a.iso: coreos, iso, 2.0 GiB, digest abc" in text
    assert "unusable base image /srv/b: No such file" in text
    assert "none read yet" in page(process=replace(PROCESS, bases=())).text


@pytest.mark.parametrize(
    ("process", "rows", "query", "sentence"),
    [
        (PROCESS, 0, Query(), "put a file NAME.yaml"),
        (replace(PROCESS, mode="controller"), 0, Query(), "no PreprovisioningImage"),
        (replace(PROCESS, serving=False), 0, Query(), "mic is starting"),
        (PROCESS, 1, Query(text="other"), "No host matches the filter"),
    ],
)
def test_an_empty_table_says_why(process: Process, rows: int, query: Query, sentence: str) -> None:
    found = page(*[Row(host=host())] * rows, query=query, process=process)
    assert sentence in found.text
    assert not found.tags("table")


def test_has_links_to_images_where_they_are_no_secret() -> None:
    row = Row(host=host(), published=True, images=(("iso", "http://x/w%22.iso"),))
    assert "http://x/w%22.iso" in [each.get("href") for each in page(row).tags("a")]


def test_the_form_and_the_links_keep_the_query() -> None:
    query = Query(text='a"b', show=Show.NEVER, sort=Sort.NETWORK, descending=True)
    found = page(*[Row(host=host(f'a"b{number}')) for number in range(250)], query=query)
    fields = {each["name"]: each.get("value") for each in found.tags("input") if "name" in each}
    assert fields == {"q": 'a"b', "sort": "network", "order": "desc"}
    (chosen,) = [each for each in found.tags("option") if "selected" in each]
    assert chosen["value"] == "never"
    links = {each.get("id"): each.get("href") for each in found.tags("a")}
    assert links["next"] == "?q=a%22b&show=never&sort=network&order=desc&page=2"
    assert links["sort-network"] == "?q=a%22b&show=never&sort=network"
    assert "previous" not in links
    (sorted_,) = [each for each in found.tags("th") if "aria-sort" in each]
    assert sorted_["aria-sort"] == "descending"


def test_needs_nothing_from_elsewhere() -> None:
    row = Row(host=host(), read=READ, published=True, images=(("iso", "http://x/w.iso"),))
    found = page(row)
    for tag, attributes in found.found:
        assert tag not in ("iframe", "object", "embed", "base", "img")
        assert not {name for name in attributes if name.startswith("on") or name == "style"}
        assert attributes.get("src") is None
    assert [each["href"] for each in found.tags("link")] == ["data:,"]


def test_the_policy_allows_the_own_script_and_style_only() -> None:
    text = render(Overview(process=PROCESS, rows=()), Query()).decode()
    for kind in ("script", "style"):
        (content,) = re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in POLICY
    assert POLICY.startswith("default-src 'none';")
    assert "unsafe" not in POLICY


HOSTILE = "</td><script>alert(1)</script>&amp;\"'`\x00\x1b[2J\u202e\ud800${1}"


def test_hostile_texts_stay_texts() -> None:
    plain = page(Row(host=host(), read=READ, published=True, images=(("iso", "x"),)))
    status = HostStatus(
        namespace=HOSTILE,
        name=HOSTILE,
        state=HostState.READY,
        network=HOSTILE,
        reason=HOSTILE,
        warnings=(HOSTILE,),
        since=float("inf"),
    )
    row = Row(
        host=status,
        read=replace(READ, client=HOSTILE, last=-1e300),
        published=True,
        images=(("iso", HOSTILE),),
    )
    process = replace(
        PROCESS,
        version=HOSTILE,
        url=HOSTILE,
        addresses=(HOSTILE,),
        health=Health(not_ready=(HOSTILE,), warnings=(HOSTILE,), fatal=(HOSTILE,)),
        bases=(BaseState(path=HOSTILE, kind=Kind.ISO, problem=HOSTILE),),
    )
    found = page(row, query=Query(text="<script>"), process=process)
    assert len(found.tags("script")) == 1
    found = page(row, process=process)
    assert len(found.tags("script")) == len(plain.tags("script")) == 1
    assert "alert(1)" in found.text
    assert "\x1b" not in found.text
    assert "\u202e" not in found.text


@given(st.text(alphabet=st.characters(), max_size=60), st.text(max_size=60))
def test_any_text_keeps_the_structure(text: str, more: str) -> None:
    def shape(name: str, reason: str) -> list[str]:
        row = Row(host=host(name, HostState.FAILED, reason=reason, warnings=(reason,)))
        return [tag for tag, _ in page(row).found]

    assert shape(text, more or "x") == shape("w", "x")


def test_its_size_is_bounded() -> None:
    huge = "<" * 100_000
    rows = [
        Row(host=host(huge, HostState.FAILED, reason=huge, network=huge, warnings=(huge,) * 50))
        for _ in range(300)
    ]
    process = replace(PROCESS, health=Health(not_ready=(huge,) * 1000, warnings=(huge,) * 1000))
    assert len(render(Overview(process=process, rows=tuple(rows)), Query())) < 2_000_000
