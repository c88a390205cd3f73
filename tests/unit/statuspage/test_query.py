"""Which hosts the status page shows, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mic.downloads.state import State
from mic.hosts.status import HostState, HostStatus
from mic.statuspage.overview import LastRead, Row
from mic.statuspage.query import ROWS, Query, Show, Sort, select


def read(client: str, state: State = State.COMPLETE, share: float = 100.0) -> LastRead:
    return LastRead(client=client, kind="iso", state=state, outdated=False, share=share, last=9.0)


def row(
    name: str,
    state: HostState = HostState.READY,
    last: LastRead | None = None,
    *,
    namespace: str = "",
    network: str = "",
    reason: str = "",
    warnings: tuple[str, ...] = (),
    since: float = 0.0,
) -> Row:
    status = HostStatus(
        namespace=namespace,
        name=name,
        state=state,
        network=network,
        reason=reason,
        warnings=warnings,
        since=since,
    )
    return Row(host=status, read=last)


HOSTS = (
    row("w-10", network="eth0 192.0.2.10/24", since=30, last=read("192.0.2.9", share=10)),
    row("w-2", HostState.FAILED, reason="interfaces[0]: bad", since=10),
    row("w-1", network="bond0 DHCP", warnings=("ipv4: off",), since=20),
    row("a", HostState.KEPT, reason="bad", since=40, last=read("192.0.2.10", State.STALLED, 90)),
    row("b", HostState.WAITING, reason="base image", since=50),
    row("z", last=read("2001:db8::1", State.DOWNLOADING, 50)),
)


def names(query: Query) -> list[str]:
    return [each.name for each in select(HOSTS, query).rows]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        (Sort.ATTENTION, "w-2 a b w-1 w-10 z"),
        (Sort.HOST, "a b w-1 w-2 w-10 z"),
        (Sort.NETWORK, "w-1 w-10 a b w-2 z"),
        (Sort.READER, "z w-10 a b w-1 w-2"),
        (Sort.READ, "w-10 z a b w-1 w-2"),
        (Sort.SINCE, "b a w-10 w-1 w-2 z"),
    ],
)
def test_sorts(sort: Sort, expected: str) -> None:
    found = names(Query(sort=sort))
    if sort is Sort.READER:
        # Numbers count as numbers; which IP family comes first does not matter.
        assert [name for name in found if name != "z"] == [
            name for name in expected.split() if name != "z"
        ]
    else:
        assert found == expected.split()


def test_sorts_the_other_way_round() -> None:
    assert names(Query(sort=Sort.HOST, descending=True)) == "z w-10 w-2 w-1 b a".split()


@pytest.mark.parametrize(
    ("show", "expected"),
    [
        (Show.PROBLEMS, "w-2 a b"),
        (Show.WARNINGS, "w-1"),
        (Show.READING, "a z"),
        (Show.NEVER, "w-2 b w-1"),
    ],
)
def test_shows_some_hosts_and_counts_all(show: Show, expected: str) -> None:
    assert names(Query(show=show)) == expected.split()
    counts = select(HOSTS, Query(show=show)).counts
    assert counts[show] == len(expected.split())
    assert counts[Show.ALL] == len(HOSTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("W-1", "w-1 w-10"),
        ("192.0.2.10", "a w-10"),
        ("OFF", "w-1"),
        ("interfaces[0]", "w-2"),
        ("bond0 dhcp", "w-1"),
        ("nothing", ""),
    ],
)
def test_filters_by_what_a_row_says(text: str, expected: str) -> None:
    assert names(Query(text=text)) == expected.split()


def test_a_namespace_is_part_of_the_name() -> None:
    hosts = [row("w", namespace="metal3"), row("v", namespace="other")]
    assert [each.name for each in select(hosts, Query(text="metal3/w")).rows] == ["metal3/w"]


def test_pages_cover_all_hosts_once() -> None:
    hosts = [row(f"w-{number}") for number in range(2 * ROWS + 1)]
    pages = [select(hosts, Query(sort=Sort.HOST, page=page)) for page in (1, 2, 3, 4)]
    assert [len(page.rows) for page in pages] == [ROWS, ROWS, 1, 1]
    assert [page.first for page in pages] == [1, ROWS + 1, 2 * ROWS + 1, 2 * ROWS + 1]
    assert {page.pages for page in pages} == {3}
    shown = [each.name for page in pages[:3] for each in page.rows]
    assert shown == [each.name for each in hosts]


def test_without_hosts_there_is_one_empty_page() -> None:
    found = select([], Query(page=7))
    assert (found.rows, found.page, found.pages, found.matching) == ((), 1, 1, 0)


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query(text="a&b=c #%\"'<ü>", show=Show.NEVER, sort=Sort.READ, descending=True, page=3),
        Query(sort=Sort.HOST),
    ],
)
def test_a_query_survives_its_url(query: Query) -> None:
    assert query.url.startswith("?")
    assert Query.parse(query.url.removeprefix("?")) == query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Query()),
        ("show=none&sort=&order=up&page=-1", Query()),
        ("page=0", Query()),
        ("page=99999999", Query()),
        ("page=٣", Query()),
        ("q=%ff%00", Query(text="\ufffd\x00")),
        ("&".join(["a=b"] * 1000), Query()),
        ("q=" + "x" * 100_000, Query(text="x" * 100)),
        ("q=a&q=b", Query(text="a")),
    ],
)
def test_reads_any_query(text: str, expected: Query) -> None:
    assert Query.parse(text) == expected


def test_a_second_click_on_a_column_turns_the_order() -> None:
    once = Query(page=3).sorted_by(Sort.NETWORK)
    assert once == Query(sort=Sort.NETWORK)
    assert once.sorted_by(Sort.NETWORK) == replace(once, descending=True)
    assert once.sorted_by(Sort.NETWORK).sorted_by(Sort.NETWORK) == once
