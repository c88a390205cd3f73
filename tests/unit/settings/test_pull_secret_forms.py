"""Forms of the pull secret, and what refuses it."""

from __future__ import annotations

import base64
import json
import os
import textwrap
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings_support import SECRET, problems_of
from toys import put

from mic.common.errors import BuildInvalid, ConfigError
from mic.ignition import Agent
from mic.settings.model import (
    AgentSettings,
)
from mic.settings.read import read_agent
from mic.settings.values import pull_secret

PULL_SECRETS = {
    "raw JSON": SECRET,
    "raw JSON with a newline": b"\n" + SECRET + b"\n",
    "indented JSON": json.dumps(json.loads(SECRET), indent=4).encode(),
    "base64": base64.b64encode(SECRET),
    "base64 with a newline": base64.b64encode(SECRET) + b"\n",
    "base64 wrapped at 76": base64.encodebytes(SECRET),
    "base64 wrapped with carriage returns": base64.encodebytes(SECRET).replace(b"\n", b"\r\n"),
    "base64 of JSON with a newline": base64.b64encode(SECRET + b"\n"),
}

BAD_SECRETS = {
    "garbage": b"hunter2 is the word!",
    "base64 of garbage": base64.b64encode(b"hunter2 is the word"),
    "base64 of base64": base64.b64encode(base64.b64encode(SECRET)),
    "base64 cut off": base64.b64encode(SECRET)[:-3],
    "base64 of JSON cut off": base64.b64encode(SECRET[:-3]),
    "JSON cut off": SECRET[:-1],
    "no object": b'["hunter2"]',
    "base64 of no object": base64.b64encode(b'"hunter2"'),
    "null": base64.b64encode(b"null"),
    "an object without auths": b'{"hunter2": {}}',
    "auths is a list": b'{"auths": ["hunter2"]}',
    "auths is null": b'{"auths": null, "x": "hunter2"}',
    "not UTF-8": b'{"auths": {"hunter2\xff": {}}}',
    "base64 of bytes": base64.b64encode(b"\xff\xfe\x00hunter2"),
    "absurdly deep": b'{"auths": ' + b"[" * 100_000,
    "only brackets": b"{",
}


class TestPullSecret:
    @pytest.mark.parametrize("value", PULL_SECRETS.values(), ids=PULL_SECRETS)
    def test_accepts_every_form_in_the_field(self, value: bytes) -> None:
        assert json.loads(pull_secret("NAME", value)) == json.loads(SECRET)

    @pytest.mark.parametrize("value", [b"", b" ", b"\n"])
    def test_empty_means_no_secret(self, value: bytes) -> None:
        assert pull_secret("NAME", value) == b""

    @pytest.mark.parametrize("value", BAD_SECRETS.values(), ids=BAD_SECRETS)
    def test_rejects_a_bad_one_without_showing_it(self, value: bytes) -> None:
        with pytest.raises(ConfigError) as caught:
            pull_secret("NAME", value)
        assert str(caught.value).startswith("NAME is n")
        assert len(str(caught.value)) < 100
        # `from None` only hides the decoder's error, which holds the document.
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        shown = "".join(traceback.format_exception(caught.value))
        assert "hunter2" not in shown
        assert value[:40].decode("latin-1") not in shown or value == b"{"

    @given(st.binary(max_size=60))
    def test_any_bytes_raise_a_config_error_at_worst(self, value: bytes) -> None:
        try:
            pull_secret("NAME", value)
        except ConfigError as error:
            assert error.__context__ is None  # noqa: PT017 - which error is no question here

    def test_rejects_bytes_that_are_no_text(
        self, environment: dict[str, str], flags: dict[str, str]
    ) -> None:
        environment["IRONIC_AGENT_PULL_SECRET"] = os.fsdecode(b'{"auths\xff": {}}')
        (problem,) = problems_of(environment, flags)
        assert problem.startswith("IRONIC_AGENT_PULL_SECRET is n")

    def test_reads_the_file_when_the_variable_is_empty(self, tmp_path: Path) -> None:
        settings = AgentSettings(agent=Agent(image="i"), pull_secret_file=str(tmp_path / "secret"))
        assert read_agent(settings).pull_secret == b""
        put(tmp_path / "secret", base64.encodebytes(SECRET))
        assert read_agent(settings).pull_secret == SECRET
        put(tmp_path / "secret", b"")
        assert read_agent(settings).pull_secret == b""

    def test_the_variable_wins(self, tmp_path: Path) -> None:
        put(tmp_path / "secret", b'{"auths": {"file": {}}}')
        settings = AgentSettings(
            agent=Agent(image="i", pull_secret=SECRET), pull_secret_file=str(tmp_path / "secret")
        )
        assert read_agent(settings).pull_secret == SECRET

    def test_rejects_a_bad_file_without_showing_it(self, tmp_path: Path) -> None:
        path = put(tmp_path / "secret", b"hunter2")
        settings = AgentSettings(agent=Agent(image="i"), pull_secret_file=str(path))
        with pytest.raises(BuildInvalid, match=str(path)) as caught:
            read_agent(settings)
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_accepts_base64_as_the_shell_wraps_it() -> None:
    """base64(1) wraps at 76 columns."""
    wrapped = "\n".join(textwrap.wrap(base64.b64encode(SECRET).decode(), 76))
    assert "\n" in wrapped
    assert pull_secret("NAME", wrapped.encode()) == SECRET
