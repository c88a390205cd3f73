"""Changes of kernel arguments: what a text asks for, what is refused, and the result in an ISO."""

from __future__ import annotations

import json
import lzma
import string
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import live_iso, put

from mic.common.errors import BuildInvalid
from mic.media.base import Base, Kind, read_base
from mic.media.basefile import open_base
from mic.media.customisation import Customisation
from mic.media.iso9660 import Iso
from mic.media.isowriter import write_iso
from mic.media.kernel_arguments import ArgumentEdits, edited, parse

ALLOWED = sorted(set(string.printable) - set(string.whitespace) - set("\"'\\$;{}|&<>#`"))


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        ("", ArgumentEdits()),
        (" \n\t\r\n", ArgumentEdits()),
        ("console=ttyS0,115200n8 quiet", ArgumentEdits((), ("console=ttyS0,115200n8", "quiet"))),
        ("# a comment\n  # another one -x\nquiet\n", ArgumentEdits((), ("quiet",))),
        ("-mitigations mitigations=off", ArgumentEdits(("mitigations",), ("mitigations=off",))),
        ("-console=tty0", ArgumentEdits(("console=tty0",), ())),
        ("a a -b -b", ArgumentEdits(("b",), ("a",))),
        ("\N{BYTE ORDER MARK}a\r\nb", ArgumentEdits((), ("a", "b"))),
        ("ip=192.0.2.2::192.0.2.1:255.255.255.0:w:eno1:none", None),
        ("ip=[2001:db8::2]::[2001:db8::1]:64::eno1:none", None),
        ("rd.znet=qeth,0.0.f500,layer2=1", None),
        ("a=b=c", None),
        ("systemd.unit=rescue.target x=", None),
    ],
)
def test_reads_words_to_append_and_to_remove(text: str, edits: ArgumentEdits | None) -> None:
    assert parse(text.encode(), "w.kargs") == (edits or ArgumentEdits((), tuple(text.split())))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ok\nfoo=$bar", "w.kargs: line 2: 'foo=$bar': the character '$' is not allowed"),
        ('a="b c"', "the character '\"' is not allowed"),
        ("a;b", "the character ';'"),
        ("a#b", "the character '#'"),
        ("a=caf\u00e9", "the character '\u00e9'"),
        ("a\0b", r"'a\x00b': the character U+0000"),
        ("a\x1b[31m", "the character U+001B"),
        ("-", "needs its name"),
        ("a - b", "needs its name"),
        ("--", "what follows '--'"),
        ("--a", "what follows '--'"),
        ("=b", "needs a name before '='"),
        ("-=b", "needs a name before '='"),
        ("%default%", "%default% stands for Ironic's own"),
        ("ignition.firstboot", "ignition.firstboot cannot be changed"),
        ("-ignition.firstboot", "cannot be changed"),
        ("ignition.platform.id=qemu", "always on the platform metal"),
        ("coreos.liveiso=x", "finds its medium"),
        ("-coreos.liveiso", "finds its medium"),
        ("coreos.live.rootfs_url=http://192.0.2.1/r", "IRONIC_ROOTFS_URL"),
        ("ignition.config.url=http://192.0.2.1/c", "give the config to mic instead"),
        ("ignition.config.device=/dev/sr0", "replace the whole Ignition config"),
        ("ignition.config.path=/c", "replace the whole Ignition config"),
        ("initrd=x", "boot loaders"),
        ("ostree=/x", "itself"),
        ("root=/dev/sda1", "by itself"),
        ("x" * 70_000, "has 70000 bytes, more than 65536"),
    ],
)
def test_refuses_with_place_and_reason(text: str, problem: str) -> None:
    with pytest.raises(BuildInvalid) as refused:
        parse(text.encode(), "w.kargs")
    assert problem in str(refused.value)
    assert str(refused.value).startswith("w.kargs: ")
    assert len(str(refused.value)) < 300


def test_refuses_bytes_that_are_not_text() -> None:
    with pytest.raises(BuildInvalid, match="is not UTF-8 text at byte 2"):
        parse(b"a \xff", "w.kargs")


def test_reports_all_problems_up_to_a_limit() -> None:
    with pytest.raises(BuildInvalid) as refused:
        parse("\n".join(f"a{number}$" for number in range(30)), "w.kargs")
    assert str(refused.value).count("is not allowed") == 20
    assert str(refused.value).endswith("and 10 more problems")


def test_every_allowed_character_is_taken() -> None:
    word = "x=" + "".join(ALLOWED)
    assert parse(word, "w.kargs").appended == (word,)


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ("a b", ["c"], "a b c"),
        ("a b", ["b"], "a b"),
        ("a=1 a=2 b", ["-a"], "b"),
        ("a=1 a=2 a", ["-a=1"], "a=2 a"),
        ("a=1", ["-a a=2"], "a=2"),
        ("ab=1 a=1", ["-a"], "ab=1"),
        ("a", ["b", "-b c"], "a c"),
        ("a  b", [""], "a  b"),
        ("a", ["-nothing"], "a"),
        ("console=tty0", ["console=ttyS0"], "console=tty0 console=ttyS0"),
    ],
)
def test_changes_each_level_in_turn(before: str, changes: list[str], after: str) -> None:
    assert edited(before, [parse(change, "x") for change in changes]) == after


WORDS = st.sampled_from(["a", "b", "a=1", "a=2", "b=1", "ab", "ab=1", "a=1=2"])


def plainly_edited(words: list[str], removed: list[str], appended: list[str]) -> list[str]:
    """A plain model: one word at a time, over lists."""
    result = []
    for word in words:
        gone = False
        for each in removed:
            if word == each or ("=" not in each and word.startswith(f"{each}=")):
                gone = True
        if not gone:
            result.append(word)
    for word in appended:
        if word not in result:
            result.append(word)
    return result


@given(st.lists(WORDS), st.lists(st.tuples(st.lists(WORDS), st.lists(WORDS)), max_size=3))
def test_agrees_with_a_plain_model(
    words: list[str], levels: list[tuple[list[str], list[str]]]
) -> None:
    expected = words
    texts = []
    for removed, appended in levels:
        if removed or appended:
            expected = plainly_edited(expected, removed, appended)
        texts.append(" ".join([*appended, *(f"-{word}" for word in removed)]))
    text = edited(" ".join(words), [parse(each, "x") for each in texts])
    assert text.split() == expected


def base_of(path: Path) -> Base:
    return read_base(open_base(str(path)), Kind.ISO, inside_iso=False)


def content(base: Base, *changes: str) -> bytes:
    edits = tuple(parse(change, "x") for change in changes)
    layout = base.layout(Customisation(b"archive", edits))
    return layout.read(0, layout.size)


WITH_AREAS = ("2021-09", "2021-12", "2022-02", "2022-09", "2023-03.x86_64", "2023-07.x86_64")


def areas(image: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """The areas of a real ISO and their characters, read as the format describes them."""

    class Whole:
        size = len(image)

        def read(self, offset: int, length: int) -> bytes:
            return image[offset : offset + length]

    iso = Iso(Whole())
    try:
        info = json.loads(iso.read("/coreos/kargs.json", 10_000))
    except Exception:  # before there was such a file
        magic, size, _default, *offsets = struct.unpack_from("<8s8Q", image, 32672)
        assert magic == b"coreKarg"
        places = offsets[: offsets.index(0)]
        return [(image[place : place + size], b"#", b"\n") for place in places]
    found = []
    for file in info["files"]:
        start = iso.find(file["path"]).offset + file["offset"]
        pad, end = file.get("pad", "#").encode(), file.get("end", "\n").encode()
        found.append((image[start : start + info["size"]], pad, end))
    return found


@pytest.mark.parametrize("name", ["2021-01", *WITH_AREAS, "2023-07.s390x"])
class TestRealImages:
    def image(self, shared: Path, name: str) -> bytes:
        path = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
        return lzma.decompress(path.read_bytes())

    def test_every_area_has_the_new_arguments(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        plain = self.image(shared, name)
        base = base_of(put(tmp_path / "a.iso", plain))
        text = areas(plain)[0][0].decode().rstrip("#\0").strip()
        image = content(base, "-mitigations -random.trust_cpu console=ttyS0", "quiet")
        kept = [word for word in text.split() if "mitigations" not in word and "trust" not in word]
        expected = " ".join([*kept, "console=ttyS0", "quiet"]).encode()
        found = areas(image)
        assert len(found) == len(areas(plain))
        for area, pad, end in found:
            assert area == (expected + end).ljust(len(area), pad)
        # Nothing else changed but the embed area.
        changed = sum(one != other for one, other in zip(plain, image, strict=True))
        assert changed <= len(found) * len(found[0][0]) + len(b"archive")

    def test_a_text_as_long_as_the_area_allows_fits(
        self, shared: Path, tmp_path: Path, name: str
    ) -> None:
        plain = self.image(shared, name)
        base = base_of(put(tmp_path / "a.iso", plain))
        area, _, end = areas(plain)[0]
        text = area.decode().rstrip("#\0").strip()
        room = len(area) - 1 - len(text) - 1
        longest = areas(content(base, "x" * room))[0][0]
        assert longest == f"{text} {'x' * room}".encode() + end
        with pytest.raises(BuildInvalid) as refused:
            content(base, "x" * (room + 1))
        assert f"{len(area)} bytes" in str(refused.value)
        assert f"room for {len(area) - 1}" in str(refused.value)


@pytest.mark.parametrize("name", ["2020-09", "2023-03.s390x"])
def test_refuses_arguments_for_a_real_image_without_areas(
    shared: Path, tmp_path: Path, name: str
) -> None:
    path = shared / f"fixtures/coreos-iso/embed-areas-{name}.iso.xz"
    base = base_of(put(tmp_path / "a.iso", lzma.decompress(path.read_bytes())))
    with pytest.raises(BuildInvalid, match="cannot take kernel arguments: it has no areas"):
        content(base, "quiet")
    assert content(base, "") == content(base)


def test_without_changes_bytes_and_tag_are_those_of_an_archive_alone(tmp_path: Path) -> None:
    base = base_of(put(tmp_path / "a.iso", live_iso()))
    for changes in ([""], ["# nothing\n"], ["-absent"], ["new", "-new"]):
        edits = tuple(parse(change, "x") for change in changes)
        assert content(base, *changes) == content(base)
        assert base.etag(Customisation(b"a", edits)) == base.etag(Customisation(b"a"))


def test_other_arguments_give_another_tag(tmp_path: Path) -> None:
    base = base_of(put(tmp_path / "a.iso", live_iso()))
    tags = [
        base.etag(Customisation(b"a", tuple(parse(change, "x") for change in changes)))
        for changes in ([], ["quiet"], ["loud"], ["quiet", "loud"], ["loud", "quiet"])
    ]
    assert len(set(tags)) == len(tags)
    assert base.etag(Customisation(b"a", (parse("quiet loud", "x"),))) == tags[3]


@pytest.mark.parametrize(
    ("kargs", "reason"),
    [
        ({"default": "", "size": 9000, "files": []}, "not as expected"),
        ({"default": "", "size": 8, "files": [{"path": "g", "offset": 0, "pad": "##"}]}, "pad"),
        ({"default": "", "size": 8, "files": [{"path": "g", "offset": 0, "end": "\u00e9"}]}, "end"),
        (
            {"default": "", "size": 8, "files": [{"path": "g", "offset": n} for n in (0, 7)]},
            "overlap",
        ),
        (
            {"default": "", "size": 8, "files": [{"path": "images/ignition.img", "offset": 0}]},
            "overlaps the Ignition embed area",
        ),
    ],
)
def test_a_broken_description_concerns_only_who_changes_arguments(
    tmp_path: Path, kargs: object, reason: str
) -> None:
    files = {
        "/coreos/igninfo.json": b'{"file": "images/ignition.img"}',
        "/coreos/kargs.json": json.dumps(kargs).encode(),
        "/images/ignition.img": bytes(4096),
        "/g": b"#" * 100,
    }
    base = base_of(put(tmp_path / "a.iso", bytes(write_iso(files))))
    assert b"archive" in content(base)
    with pytest.raises(BuildInvalid, match=f"a.iso cannot take kernel arguments: .*{reason}"):
        content(base, "quiet")
