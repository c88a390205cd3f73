"""The agent's configuration file, read by the agent's own option definitions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from e2e import venv
from e2e.hosts import FULL_AGENT, NAMED_HOST, ODD_HOST, PLAIN_AGENT, UNCONFIGURED_HOST

from mic.ignition import Agent, Host, config

_AGENT = "ironic-python-agent==13.0.0"

# Prints every option of the file and the value that the agent takes for it; an option that it
# does not define ends it with an error, and so does a value that it does not accept.
_READ = """\
import configparser, json, sys
from oslo_config import cfg
from oslo_log import log
from ironic_python_agent import config
log.register_options(config.CONF)
config.CONF(args=[], default_config_files=[sys.argv[1]])
file = configparser.RawConfigParser(default_section=None)
file.read(sys.argv[1])
assert file.sections() == ["DEFAULT"], file.sections()
print(json.dumps({name: getattr(config.CONF, name) for name in file.options("DEFAULT")}))
"""


@pytest.mark.parametrize(
    ("agent", "host", "expected"),
    [
        pytest.param(
            PLAIN_AGENT,
            NAMED_HOST,
            {
                "api_url": "http://192.0.2.2:6385",
                "inspection_callback_url": "",
                "insecure": True,
                "enable_vlan_interfaces": "all",
            },
            id="plain",
        ),
        pytest.param(
            FULL_AGENT,
            ODD_HOST,
            {
                "api_url": "https://[2001:db8::2]:6385,https://ir$onic.example:6385",
                "inspection_callback_url": "https://[2001:db8::2]:5050/v1/continue,"
                "https://ironic.example:5050/v1/continue",
                "insecure": False,
                "enable_vlan_interfaces": "all",
            },
            id="everything",
        ),
        pytest.param(
            PLAIN_AGENT,
            UNCONFIGURED_HOST,
            {
                "api_url": "http://192.0.2.2:6385",
                "inspection_callback_url": "",
                "insecure": True,
                "enable_vlan_interfaces": "",
            },
            id="network data",
        ),
    ],
)
def test_the_agent_takes_its_options_as_they_were_given(
    agent: Agent, host: Host, expected: dict[str, Any], tmp_path: Path
) -> None:
    python = venv.python_with(_AGENT)
    files = json.loads(config(agent, host))["storage"]["files"]
    (source,) = (
        file["contents"]["source"]
        for file in files
        if file["path"] == "/etc/ironic-python-agent.conf"
    )
    path = tmp_path / "ironic-python-agent.conf"
    path.write_bytes(unquote_to_bytes(source.removeprefix("data:,")))
    assert json.loads(venv.run(python, _READ, path)) == expected
