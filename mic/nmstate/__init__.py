"""NMState documents to NetworkManager keyfiles.

Knows documents and keyfiles, and does no I/O; `mic.hosts` reads documents, and can run the
reference instead. `docs/design/nmstate.md` describes the rules and the differences from it.
"""

from mic.nmstate.generator import generate, generate_from, keyfiles
from mic.nmstate.listing import from_yaml, to_yaml

__all__ = ["from_yaml", "generate", "generate_from", "keyfiles", "to_yaml"]
