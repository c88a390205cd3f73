"""Hook of mkdocs: pages and files of the repository that are not in docs/.

README, changelog and the list of examples become pages. Files that a page links to, such as
manifests, are copied. A link to a directory becomes plain text, because a site has none.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "vulnerabilities.md",
    "examples/README.md": "examples.md",
}
"""Pages by their place in the repository."""

_FILES = "files"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages, and the files that pages link to."""
    for source, name in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, name, content=(ROOT / source).read_text()))
    linked = {
        target
        for file in files.documentation_pages()
        for target in _targets(file.src_uri, file.content_string)
        if (ROOT / target).is_file() and not target.startswith("docs/") and target not in PAGES
    }
    for target in sorted(linked):
        path = str(ROOT / target)
        files.append(File.generated(config, f"{_FILES}/{target}", abs_src_path=path))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:  # noqa: ARG001
    """Return the text of a page with links that lead to places of the site."""
    name = page.file.src_uri

    def link(match: re.Match[str]) -> str:
        image, text, target = match.groups()
        path, hash_sign, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        source = _source(name, path)
        if (ROOT / source).is_dir():
            return text
        place = os.path.relpath(_place(source), posixpath.dirname(name) or ".")
        return f"{image}[{text}]({place}{hash_sign}{anchor})"

    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(link, part) for part in parts[::2]]
    return "".join(parts)


def _targets(name: str, markdown: str) -> set[str]:
    """Return the places in the repository that a page links to."""
    links = _LINK.findall(_FENCED.sub("", markdown))
    paths = {target.partition("#")[0] for _, _, target in links if "://" not in target}
    return {_source(name, path) for path in paths if path}


def _source(name: str, target: str) -> str:
    """Return the place in the repository of a link on a page of the site."""
    original = {page: source for source, page in PAGES.items()}.get(name, f"docs/{name}")
    return posixpath.normpath(str(PurePosixPath(original).parent / target))


def _place(source: str) -> str:
    """Return the place in the site of a file of the repository."""
    if source in PAGES:
        return PAGES[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    return f"{_FILES}/{source}"
