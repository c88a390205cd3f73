"""The agent's own option definitions, which read the configuration files that mic makes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e import venv

PACKAGE = "ironic-python-agent==13.0.0"

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


def options(path: Path) -> dict[str, Any]:
    """What the agent takes from a file, by option."""
    found: dict[str, Any] = json.loads(venv.run(venv.python_with(PACKAGE), _READ, path))
    return found
