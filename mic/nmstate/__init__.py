"""NMState documents to NetworkManager keyfiles.

`keyfiles` is the built-in generator; `mic.nmstate.nmstatectl` runs the reference instead.
`docs/nmstate.md` tells what is read and written, and where the two differ.
"""

from mic.nmstate.generator import keyfiles
from mic.nmstate.keyfile import Keyfile
from mic.nmstate.listing import from_yaml, to_yaml
from mic.nmstate.problems import NMStateInvalid

__all__ = ["Keyfile", "NMStateInvalid", "from_yaml", "keyfiles", "to_yaml"]
