"""The directory of static mode: the files of each host.

A host is a file of NMState, ``NAME.yaml``, ``.yml`` or ``.json``. Next to it may be ``NAME.kargs``
with kernel arguments and ``NAME.ign`` with an Ignition config.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from mic.common.errors import BuildInvalid, MicError
from mic.common.files import NotRegular, os_reason, path_of, read_located
from mic.common.host_data import HostData
from mic.common.problems import DocumentInvalid
from mic.common.text import printable

SUFFIXES = (".yaml", ".yml", ".json")
"""Suffixes of host files, by precedence: of several files for one host, the first one counts."""

_NAMES = tuple(f"NAME{suffix}" for suffix in SUFFIXES)

FILE_LIMIT = 4 * 1024 * 1024
"""Upper bound on the size of a host file, in bytes."""

_NOT_QUOTED = "; not quoted: the link leads out of -nmstate-dir; mic keyfiles FILE says more"
_WORDS_NOT_QUOTED = "; not quoted: the link leads out of -nmstate-dir; mic check says more"
_SHOWN_FILES = 5

_COMPANIONS = {".kargs": "kernel_arguments", ".ign": "ignition"}
"""Suffixes of files next to a host's, and the part of `HostData` that each fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A host's files as last read: what they give, or the reason why they cannot be used.

    ``path`` is that of the NMState file.

    ``note`` is reported although the host is built. A file that ``is_elsewhere`` was reached by a
    link out of the directory: it may be any file that mic can read. The log and the health page
    have more readers, so they must not quote it.
    """

    path: str
    given: HostData = field(default_factory=HostData)
    problem: str = ""
    note: str = ""
    is_elsewhere: bool = False

    def quote(self, error: MicError) -> str:
        """Return the text to report for an error in the content."""
        texts = error.without_content if isinstance(error, BuildInvalid) else None
        if not self.is_elsewhere or texts is None:
            return str(error)
        is_document = isinstance(error, DocumentInvalid)
        return f"{'; '.join(texts)}{_NOT_QUOTED if is_document else _WORDS_NOT_QUOTED}"


def read_directory(directory: str) -> dict[str, HostFile]:
    """Return the hosts of a directory, by name; call it in a thread."""
    # Opened once: if the path is a link that changes, all files are still of one directory.
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        return _read_hosts(directory, fd)
    finally:
        os.close(fd)


def read_host(path: str) -> HostFile:
    """Return the host of one file as `read_directory` does, or why there is none.

    A note says that static mode reads another file for this host. Call it in a thread.
    """
    directory, file_name = os.path.split(path)
    name, ending = os.path.splitext(file_name)
    if ending not in SUFFIXES or file_name.startswith("."):
        return HostFile(path=path, problem=f"a host file is called {', '.join(_NAMES)}")
    try:
        fd = os.open(directory or ".", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except OSError as error:
        return HostFile(path=path, problem=os_reason(error))
    try:
        root = path_of(fd)
        names = set(os.listdir(fd))
        host = _read_file(path, name, fd, root)
        if host is None:
            return HostFile(path=path, problem="there is no such regular file")
        host = _with_companions(host, name, names, fd, root)
    finally:
        os.close(fd)
    (first, *_) = (name + suffix for suffix in SUFFIXES if name + suffix in names)
    if first == file_name:
        return host
    return replace(host, note=f"mic static ignores it: {first} names the same host")


def other_files(directory: str, hosts: Iterable[HostFile]) -> list[str]:
    """Return the names in a directory that are ignored; ``hosts`` were read from there.

    Other directories and names that start with a dot are left out; call it in a thread.
    """
    read = {file.path for file in hosts}
    used = {os.path.splitext(path)[0] + suffix for path in read for suffix in _COMPANIONS}
    known = read | used
    with os.scandir(directory) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.join(directory, entry.name) not in known
            and _is_unexpected(entry)
        )


def _is_unexpected(entry: os.DirEntry[str]) -> bool:
    try:
        return not entry.is_dir() and not (entry.name.endswith(SUFFIXES) and entry.is_file())
    except OSError:
        return False  # a link that leads in a circle: reading it reports that


def _read_hosts(directory: str, fd: int) -> dict[str, HostFile]:
    hosts: dict[str, HostFile] = {}
    with os.scandir(fd) as entries:
        names = sorted(entry.name for entry in entries)
    root = path_of(fd)
    all_names = set(names)
    for suffix in SUFFIXES:
        for file_name in names:
            name, ending = os.path.splitext(file_name)
            # ConfigMap mounts keep their data in directories whose names start with two dots.
            if ending != suffix or not name or file_name.startswith("."):
                continue
            file = _read_file(os.path.join(directory, file_name), name, fd, root)
            if file is None:
                continue
            if name in hosts:
                first = hosts[name]
                note = f"{file_name} names the same host and is ignored"
                note = f"{first.note}; {note}" if first.note else note
                hosts[name] = replace(first, note=note)
            else:
                hosts[name] = _with_companions(file, name, all_names, fd, root)
    return hosts


def _read_file(path: str, name: str, directory: int, root: str) -> HostFile | None:
    """Return the host of a regular file or a link to one; None for anything else.

    ``directory`` is the descriptor of the file's directory, ``root`` its path without links.
    """
    try:
        content, place = read_located(os.path.basename(path), FILE_LIMIT, directory)
    except (FileNotFoundError, NotRegular):
        return None
    except OSError as error:
        return HostFile(path=path, problem=os_reason(error))
    if not name.isprintable():
        return HostFile(path=repr(path), problem="the file name is not a host name")
    if len(content) > FILE_LIMIT:
        return HostFile(path=path, problem=f"the file has more than {FILE_LIMIT} bytes")
    return HostFile(
        path=path,
        given=HostData(network=content),
        is_elsewhere=not _is_inside(place, root),
    )


def _is_inside(place: str, root: str) -> bool:
    return bool(root) and place.startswith(f"{root.rstrip('/')}/")


def _with_companions(host: HostFile, name: str, names: set[str], fd: int, root: str) -> HostFile:
    """Return a host with the files next to its own, or with the problem of one of them."""
    for suffix, part in _COMPANIONS.items():
        file_name = f"{name}{suffix}"
        if file_name not in names or host.problem:
            continue
        try:
            content, place = read_located(file_name, FILE_LIMIT, fd)
        except FileNotFoundError:
            if not _is_link(file_name, fd):
                continue  # it was removed just now
            return replace(host, problem=f"{file_name}: is a link that leads nowhere")
        except NotRegular:
            return replace(host, problem=f"{file_name}: is not a regular file")
        except OSError as error:
            return replace(host, problem=f"{file_name}: {os_reason(error)}")
        if len(content) > FILE_LIMIT:
            return replace(host, problem=f"{file_name}: has more than {FILE_LIMIT} bytes")
        parts: dict[str, Any] = {part: content, f"{part}_name": file_name}
        host = replace(
            host,
            given=replace(host.given, **parts),
            is_elsewhere=host.is_elsewhere or not _is_inside(place, root),
        )
    return host


def _is_link(name: str, directory: int) -> bool:
    try:
        return stat.S_ISLNK(os.lstat(name, dir_fd=directory).st_mode)
    except OSError:
        return False


def ignored_text(names: list[str]) -> str:
    """Return a sentence about the files that are ignored."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN_FILES])
    more = f" and {len(names) - _SHOWN_FILES} more" if len(names) > _SHOWN_FILES else ""
    return (
        f"ignored: {shown}{more}; host files are regular files *.yaml, *.yml and *.json, with "
        "NAME.kargs and NAME.ign next to them"
    )
