"""The documentation site: built strictly, complete, and without requests to other servers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from functional.daemon import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning, such as a link that leads nowhere, is an error."""
    pytest.importorskip("mkdocs", reason="there is no mkdocs here: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        # No network: what is fetched at build time would fail.
        env={"PATH": os.environ["PATH"], "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_in_the_navigation(site: Path) -> None:
    home = (site / "index.html").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("").as_posix()
        assert f'href="{name}/"' in home, f"add {name}.md to nav in mkdocs.yml"
    for name in ("examples", "changelog", "vulnerabilities"):
        assert f'href="{name}/"' in home


def test_navigation_begins_with_the_start_and_ends_with_the_design() -> None:
    # The file has a tag of its own for Python objects.
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    sections = re.findall(r"^  - ([^:\n]+):", nav, re.MULTILINE)
    order = ["Start", "Install", "Hosts' networks", "Customise", "Network boot", "Run"]
    order += ["Troubleshoot", "Reference", "Design"]
    assert sections == [section for section in order if section in sections]
    assert {"Start", "Install", "Run", "Troubleshoot", "Reference", "Design"} <= set(sections)


def test_pages_load_nothing_from_other_servers(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = re.findall(
            r"<(?:script|link|img)[^>]*?(?:src|href)=\"?([^\" >]+)", page.read_text()
        )
        assert loaded
        assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == [], page


def test_search_finds_settings_and_pages(site: Path) -> None:
    index = json.loads((site / "search/search_index.json").read_text())
    titles = {re.sub("<[^>]+>", "", document["title"]) for document in index["docs"]}
    assert {"Troubleshooting", "DEPLOY_ISO", "-nmstate-dir"} <= titles
