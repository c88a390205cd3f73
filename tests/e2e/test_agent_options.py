"""The agent's configuration file, read by the agent's own option definitions."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from e2e import parts, venv
from e2e.agent import PACKAGE, options
from e2e.hosts import FULL_AGENT, NAMED_HOST, ODD_HOST, PLAIN_AGENT, UNCONFIGURED_HOST

from mic.ignition import Agent, Host, config
from mic.media.isowriter import iso_layout
from mic.media.layout import Layout, memory
from mic.media.virtual_iso import VOLUME
from mic.ramdisk.archive import IRONIC_CA, RamdiskHost, RamdiskNetwork, iso_files


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
    files = json.loads(config(agent, host))["storage"]["files"]
    (source,) = (
        file["contents"]["source"]
        for file in files
        if file["path"] == "/etc/ironic-python-agent.conf"
    )
    path = tmp_path / "ironic-python-agent.conf"
    path.write_bytes(unquote_to_bytes(source.removeprefix("data:,")))
    assert options(path) == expected


# The agent's own search for its medium; lsblk is asked by blkid, as there is no device here.
_FIND = """\
import json, subprocess, sys
from ironic_python_agent import config, utils
from oslo_log import log
image, directory = sys.argv[1:]
def execute(command, *arguments):
    assert command == "lsblk", command
    if arguments[-1] != image:
        run = ["blkid", "-o", "value", "-s", "LABEL", image]
        label = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
        return f'KNAME="{image}" LABEL="{label}"\\n', ""
    return f'KNAME="{image}" TRAN="" TYPE="rom" SIZE="1"\\n', ""
utils.execute = execute
found = utils._find_vmedia_device_by_labels(["config-2", "vmedia_boot_iso"])
log.register_options(config.CONF)
config.CONF(args=["--config-dir", directory])
names = ("api_url", "cafile", "ntp_server", "insecure", "enable_vlan_interfaces")
print(json.dumps({"found": found, **{name: getattr(config.CONF, name) for name in names}}))
"""


def test_the_agent_finds_its_medium_and_takes_its_settings_from_there(tmp_path: Path) -> None:
    python = venv.python_with(PACKAGE)
    parts.program("blkid", "util-linux")
    xorriso = parts.program("xorriso", "xorriso")
    agent = replace(FULL_AGENT, image="")
    host = RamdiskHost(described=True)
    files = iso_files(agent, host, RamdiskNetwork.AUTO)
    layout = iso_layout(
        {path: Layout([memory(content)]) for path, content in files.items()},
        volume_id=VOLUME,
        publisher="p",
    )
    image = tmp_path / "worker-0.iso"
    image.write_bytes(layout.read(0, layout.size))
    run = [xorriso, "-osirrox", "on", "-indev", image, "-extract", "/", tmp_path / "medium"]
    subprocess.run(run, capture_output=True, check=True)
    directory = tmp_path / "medium/etc/ironic-python-agent.d"
    found = json.loads(venv.run(python, _FIND, image, directory))
    assert found == {
        "found": str(image),
        "api_url": agent.api_url,
        "cafile": f"/{IRONIC_CA}",
        "ntp_server": agent.ntp_servers[0],
        # The agent's own default, which is what its kernel arguments say.
        "insecure": False,
        "enable_vlan_interfaces": agent.enable_vlan_interfaces(network_data=True),
    }
