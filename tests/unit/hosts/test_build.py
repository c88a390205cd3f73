"""From NMState data to an archive: which data is converted, in which order, and the result."""

from __future__ import annotations

import json
import zlib
from typing import Any
from urllib.parse import unquote

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from mic.common.errors import BuildInvalid, NotReady
from mic.common.generated import Generated
from mic.common.host_data import HostData
from mic.common.keyfile import Keyfile
from mic.common.threads import Threads
from mic.hosts.archive import ForAllHosts, HostArchive
from mic.hosts.build import Builder, Builds, ExternalConverter
from mic.ignition import Agent
from mic.media.base import Kind
from mic.media.cpio import config_of
from mic.media.kernel_arguments import parse
from mic.settings.model import EarlyNetwork

AGENT = Agent(image="quay.io/ipa", ironic_urls=("http://192.0.2.1",))


async def nothing(_: bytes) -> Generated:
    return Generated(keyfiles=())


async def one(document: bytes) -> Generated:
    return Generated(keyfiles=(Keyfile(name="x.nmconnection", content=document.decode()),))


async def never(_: bytes) -> Generated:
    raise AssertionError("there is nothing to convert")


def built(archive: bytes) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(config_of(archive))
    return value


def agent_conf(archive: bytes) -> str:
    return unquote(built(archive)["storage"]["files"][0]["contents"]["source"])


async def archive_of(
    threads: Threads, document: bytes | None, external: ExternalConverter | None = None
) -> bytes:
    built = await Builder(threads, external=external).archive(
        AGENT, "w", HostData(network=document)
    )
    return built.data


@pytest.mark.parametrize("document", [None, b"", b" \n\t\n"])
@pytest_twisted.ensureDeferred
async def test_converts_nothing_without_data(threads: Threads, document: bytes | None) -> None:
    archive = (
        await Builder(threads, external=never).archive(AGENT, "w", HostData(network=document))
    ).data
    assert "enable_vlan_interfaces = all" in agent_conf(archive)
    assert b"system-connections" not in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_data_without_keyfiles_counts_as_network_data(threads: Threads) -> None:
    """The agent must not bring up VLANs by itself when the network is configured."""
    archive = (
        await Builder(threads, external=nothing).archive(AGENT, "w", HostData(network=b"{}"))
    ).data
    assert "enable_vlan_interfaces =\n" in agent_conf(archive)
    assert b"IPA_COREOS_COPY_NETWORK=false" in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_embeds_keyfiles(threads: Threads) -> None:
    archive = (
        await Builder(threads, external=one).archive(AGENT, "w", HostData(network=b"a: b"))
    ).data
    (file,) = [f for f in built(archive)["storage"]["files"] if "system-connections" in f["path"]]
    assert file["path"].endswith("/x.nmconnection")
    assert b"IPA_COREOS_COPY_NETWORK=true" in config_of(archive)


@pytest_twisted.ensureDeferred
async def test_raises_the_converters_refusal(threads: Threads) -> None:
    async def refuse(_: bytes) -> Generated:
        raise BuildInvalid("interfaces[0]: bad")

    builder = Builder(threads, external=refuse)
    with pytest.raises(BuildInvalid, match=r"interfaces\[0\]: bad"):
        await builder.archive(AGENT, "w", HostData(network=b"a: b"))


@pytest_twisted.ensureDeferred
async def test_refuses_an_agent_without_ironic(threads: Threads) -> None:
    with pytest.raises(BuildInvalid, match="IRONIC_BASE_URL"):
        await Builder(threads).archive(Agent(image="i"), "w", HostData(network=None))


class Converter:
    """A converter whose conversions complete on demand."""

    def __init__(self) -> None:
        self.begun: list[bytes] = []
        self.under_way: list[Deferred[None]] = []

    async def __call__(self, document: bytes) -> Generated:
        self.begun.append(document)
        end: Deferred[None] = Deferred()
        self.under_way.append(end)
        await end
        return Generated(keyfiles=())

    def end(self) -> None:
        self.under_way.pop(0).callback(None)


@pytest_twisted.ensureDeferred
async def test_converts_one_document_at_a_time_in_turns_between_owners(
    threads: Threads,
) -> None:
    convert = Converter()
    builder = Builder(threads, external=convert)
    large = b"#" * 900_000
    builds = [
        Deferred.fromCoroutine(builder.archive(AGENT, "w", HostData(network=document), owner=owner))
        for owner, document in [("hostile", large)] * 3 + [("other", large), ("victim", b"a: b")]
    ]
    assert builder.builds.waiting() == 4
    for number, build in enumerate([builds[0], builds[4], builds[3], builds[1], builds[2]]):
        assert len(convert.begun) == number + 1
        assert len(convert.under_way) == 1
        convert.end()
        await build
    assert convert.begun[1] == b"a: b"


@pytest_twisted.ensureDeferred
async def test_each_host_is_its_own_owner_by_default(threads: Threads) -> None:
    convert = Converter()
    builder = Builder(threads, external=convert)
    large = b"#" * 900_000
    builds = [
        Deferred.fromCoroutine(builder.archive(AGENT, name, HostData(network=document)))
        for name, document in (("a", large), ("b", large), ("c", b"c: d"))
    ]
    convert.end()
    await builds[0]
    assert convert.begun == [large, b"c: d"]
    for build in (builds[2], builds[1]):
        convert.end()
        await build


@pytest_twisted.ensureDeferred
async def test_runs_several_external_conversions_but_one_per_owner(
    threads: Threads,
) -> None:
    convert = Converter()
    builder = Builder(threads, external=convert, at_once=2)
    builds = [
        Deferred.fromCoroutine(builder.archive(AGENT, "w", HostData(network=document), owner=owner))
        for owner, document in (("a", b"a: 1"), ("a", b"a: 2"), ("b", b"b: 1"))
    ]
    assert convert.begun == [b"a: 1", b"b: 1"]
    for build in (builds[0], builds[2], builds[1]):
        convert.end()
        await build


@pytest.fixture
def calls(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls in a thread so far."""
    calls = []
    run = threads.run

    def counted(call: Any, *args: Any) -> Deferred[Any]:
        calls.append(call)
        return run(call, *args)

    monkeypatch.setattr(threads, "run", counted)
    return calls


@pytest_twisted.ensureDeferred
async def test_builds_in_one_thread_call(threads: Threads, calls: list[Any]) -> None:
    document = b"interfaces: [{name: d0, type: dummy, state: up}]"
    archive = await archive_of(threads, document)
    assert b"system-connections/d0.nmconnection" in config_of(archive)
    assert len(calls) == 1


def data(document: bytes, **more: bytes) -> HostData:
    return HostData(network=document, **more)


DUMMY = b"interfaces: [{name: d0, type: dummy, state: up}]"


class TestBatches:
    """Several small hosts in one call."""

    def names(self, builder: Builder, sizes: dict[str, int]) -> list[list[str]]:
        hosts = [(name, data(bytes(size))) for name, size in sizes.items()]
        return [list(batch) for batch in builder.batches(hosts)]

    def test_a_batch_ends_before_it_costs_too_much(self, threads: Threads) -> None:
        sizes = dict.fromkeys(map(str, range(20)), 4096)
        batches = self.names(Builder(threads), sizes)
        assert [len(batch) for batch in batches] == [8, 8, 4]
        assert [name for batch in batches for name in batch] == list(sizes)

    def test_a_large_host_is_a_batch_of_its_own(self, threads: Threads) -> None:
        sizes = {"a": 1, "large": 900_000, "b": 1, "c": 1, "larger": 1_000_000, "huge": 1 << 20}
        batches = self.names(Builder(threads), sizes)
        assert batches == [["a"], ["large"], ["b", "c"], ["larger"], ["huge"]]

    def test_no_hosts_make_no_batch(self, threads: Threads) -> None:
        assert self.names(Builder(threads), {}) == []

    def test_an_external_converter_has_one_host_at_a_time(self, threads: Threads) -> None:
        batches = self.names(Builder(threads, external=one), {"a": 1, "b": 1})
        assert batches == [["a"], ["b"]]

    @pytest_twisted.ensureDeferred
    async def test_hosts_get_what_each_would_get_alone(
        self, threads: Threads, calls: list[Any]
    ) -> None:
        batch = {
            "a": data(DUMMY, kernel_arguments=b"quiet"),
            "b": data(DUMMY.replace(b"d0", b"d1")),
            "blank": data(b" \n"),
            "without": HostData(),
        }
        builder = Builder(threads)
        url = "http://192.0.2.9/rootfs"
        alone = {
            name: await builder.archive(AGENT, name, given, rootfs_url=url)
            for name, given in batch.items()
        }
        calls.clear()
        attempts = await builder.archives(AGENT, batch, rootfs_url=url)
        assert {name: attempt.archive() for name, attempt in attempts.items()} == alone
        assert list(attempts) == list(batch)
        assert all(attempt.seconds > 0 for attempt in attempts.values())
        assert len(calls) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_failure_concerns_its_host_alone(self, threads: Threads) -> None:
        batch = {"a": data(DUMMY), "bad": data(b"interfaces: 1"), "b": data(DUMMY)}
        attempts = await Builder(threads).archives(AGENT, batch)
        for name in "ab":
            assert b"d0.nmconnection" in config_of(attempts[name].archive().data)
        with pytest.raises(BuildInvalid, match="interfaces: found a string, expected a list"):
            attempts["bad"].archive()

    @pytest_twisted.ensureDeferred
    async def test_a_failed_call_is_that_of_each_host(
        self, threads: Threads, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any) -> Deferred[Any]:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threads, "run", fail)
        builder = Builder(threads)
        attempts = await builder.archives(AGENT, {"a": data(DUMMY), "b": data(DUMMY)})
        for attempt in attempts.values():
            with pytest.raises(RuntimeError, match="new thread"):
                attempt.archive()
        assert builder.builds.waiting() == 0

    @pytest_twisted.ensureDeferred
    async def test_an_external_failure_is_an_attempt(self, threads: Threads) -> None:
        async def convert(document: bytes) -> Generated:
            if document == b"bad":
                raise NotReady("not now")
            return await one(document)

        builder = Builder(threads, external=convert)
        (good,) = (await builder.archives(AGENT, {"a": data(b"a: b")})).values()
        assert b"x.nmconnection" in config_of(good.archive().data)
        (bad,) = (await builder.archives(AGENT, {"bad": data(b"bad")})).values()
        with pytest.raises(NotReady, match="not now"):
            bad.archive()

    @pytest_twisted.ensureDeferred
    async def test_a_cancelled_batch_ends_and_returns_its_turn(self, threads: Threads) -> None:
        convert = Converter()
        builder = Builder(threads, external=convert)
        build = Deferred.fromCoroutine(builder.archives(AGENT, {"a": data(b"a: b")}))
        build.cancel()
        with pytest.raises(CancelledError):
            await build
        again = Deferred.fromCoroutine(builder.archives(AGENT, {"a": data(b"a: b")}))
        assert len(convert.begun) == 2
        convert.under_way[-1].callback(None)
        assert (await again)["a"].archive()


def test_a_build_counts_the_time_spent_before() -> None:
    now = iter((5.0, 5.5, 7.0, 7.5))
    builds = Builds(lambda: next(now))
    with builds.one(3.0):
        pass
    with builds.one():
        pass
    assert builds.seconds.sum == pytest.approx(4.0)


@pytest_twisted.ensureDeferred
async def test_warns_about_what_the_host_cannot_reach(threads: Threads) -> None:
    """The generator's warnings come first, then those about the agent's settings."""
    agent = Agent(image="[fd00::5]/ipa/ipa", ironic_urls=("http://192.0.2.1",))
    document = b"""\
interfaces:
- {name: eth0, type: ethernet, ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}}
"""
    given = HostData(network=document)
    found = await Builder(threads).archive(
        agent, "w", given, rootfs_url="http://[fd00::6]/r", network_boot=True
    )
    assert [str(each) for each in found.warnings if each.place.startswith("IRONIC_")] == [
        "IRONIC_AGENT_IMAGE: the registry of the agent's image is at [fd00::5]:443 and the host has"
        " IPv4 addresses only",
        "IRONIC_ROOTFS_URL: the rootfs is at [fd00::6]:80 and the host has IPv4 addresses only;"
        " that is fine if DHCP in the initramfs reaches it",
    ]
    reached = Agent(image="192.0.2.5/ipa/ipa", ironic_urls=("http://192.0.2.1",))
    assert (await Builder(threads).archive(reached, "w", given)).warnings == ()
    found = await Builder(threads).archive(reached, "w", given, rootfs_url="http://[fd00::6]/r")
    assert found.warnings == ()
    minimal = Builder(threads, for_all=ForAllHosts(minimal_iso=True))
    found = await minimal.archive(reached, "w", given, rootfs_url="http://[fd00::6]/r")
    assert [each.text for each in found.warnings] == [
        "the rootfs is at [fd00::6]:80 and the host has IPv4 addresses only"
    ]


@pytest_twisted.ensureDeferred
async def test_warns_about_nothing_without_network_data(threads: Threads) -> None:
    found = await Builder(threads).archive(AGENT, "w", HostData())
    assert found.warnings == ()


async def customised(threads: Threads, given: HostData, for_all: ForAllHosts) -> HostArchive:
    return await Builder(threads, for_all=for_all).archive(AGENT, "w", given)


DHCP = b"interfaces: [{name: eth0, type: ethernet, ipv4: {enabled: true, dhcp: true}}]"
FETCHING = b'{"ignition": {"version": "3.0.0", "config": {"merge": [{"source": "http://a/b"}]}}}'


@pytest.mark.parametrize(
    ("given", "for_all", "kinds"),
    [
        (HostData(network=DHCP), ForAllHosts(), ""),
        (HostData(network=DHCP), ForAllHosts(minimal_iso=True), "iso"),
        (HostData(network=DHCP, ignition=FETCHING), ForAllHosts(), "iso initramfs"),
        (HostData(ignition=FETCHING), ForAllHosts(), ""),
        (HostData(network=DHCP), ForAllHosts(early_network=EarlyNetwork.ALWAYS), "iso initramfs"),
        (
            HostData(network=DHCP, ignition=FETCHING),
            ForAllHosts(early_network=EarlyNetwork.NEVER, minimal_iso=True),
            "",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_keyfiles_are_in_the_initramfs_of_hosts_that_need_them_there(
    threads: Threads, given: HostData, for_all: ForAllHosts, kinds: str
) -> None:
    made = await customised(threads, given, for_all)
    for kind in (Kind.ISO, Kind.INITRAMFS):
        customisation = made.customisation(kind)
        cpio = zlib.decompress(customisation.archive, wbits=31)
        is_early = kind.value in kinds.split()
        assert (b"etc/coreos-firstboot-network/eth0.nmconnection" in cpio) == is_early
        assert customisation.early_network == is_early
        assert config_of(customisation.archive) == config_of(made.data)


@pytest_twisted.ensureDeferred
async def test_arguments_of_all_hosts_come_before_those_of_the_host(threads: Threads) -> None:
    for_all = ForAllHosts(kernel_arguments=parse("a b", "all"))
    made = await customised(threads, HostData(kernel_arguments=b"c a"), for_all)
    assert made.boot_arguments() == ("a", "b", "c")
    assert [edits.appended for edits in made.customisation(Kind.ISO).kernel_arguments] == [
        ("a", "b"),
        ("c", "a"),
    ]
    assert made.customisation(Kind.INITRAMFS).kernel_arguments == ()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (HostData(kernel_arguments=b"a\nroot=/dev/s"), "kernelArguments: line 2: 'root=/dev/s'"),
        (HostData(ignition=b"variant: fcos"), "ignition: is YAML, not JSON: run butane first"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refuses_what_cannot_be_laid_over_an_image(
    threads: Threads, given: HostData, reason: str
) -> None:
    with pytest.raises(BuildInvalid) as refused:
        await customised(threads, given, ForAllHosts())
    assert str(refused.value).startswith(reason)


@pytest_twisted.ensureDeferred
async def test_warns_of_an_extra_config_that_replaces_what_is_ours(threads: Threads) -> None:
    content = b"""{"ignition": {"version": "3.2.0"},
        "storage": {"files": [{"path": "/etc/ironic-python-agent.conf"}]}}"""
    made = await customised(threads, HostData(ignition=content), ForAllHosts())
    (warning,) = made.warnings
    assert str(warning) == (
        "ignition: path /etc/ironic-python-agent.conf is mic's too: this config replaces it"
    )
