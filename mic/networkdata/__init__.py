"""OpenStack network data (``network_data.json``) to NetworkManager keyfiles.

Knows the documents of Nova, Ironic and Metal3, and does no I/O; `mic.hosts` reads documents.
`docs/network-data.md` describes what becomes of each member, and the differences from cloud-init
and glean.
"""

from mic.networkdata.generating import generate, generate_from
from mic.networkdata.gleaning import gleaning_doubts
from mic.networkdata.recognising import as_json, is_network_data

__all__ = ["as_json", "generate", "generate_from", "gleaning_doubts", "is_network_data"]
