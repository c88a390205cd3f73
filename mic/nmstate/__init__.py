"""NMState documents to NetworkManager keyfiles."""

from mic.nmstate.keyfile import Keyfile

__all__ = ["Keyfile"]
