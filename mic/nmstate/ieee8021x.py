"""Port authentication: the ``802.1x`` member of an interface. It contains secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mic.common import schema
from mic.common.schema import Struct, member, optional, sequence

HIDDEN: Final = "<_password_hid_by_nmstate>"  # nmstate's placeholder for a secret
_TEXT: Final = optional(schema.text)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Ieee8021X:
    """The identity of the interface and its credentials; excluded from every repr."""

    identity: str | None = member("identity", _TEXT)
    methods: tuple[str, ...] | None = member("eap-methods", optional(sequence(schema.text)))
    private_key: str | None = member("private-key", _TEXT)
    client_cert: str | None = member("client-cert", _TEXT)
    ca_cert: str | None = member("ca-cert", _TEXT)
    private_key_password: str | None = member("private-key-password", _TEXT)
    phase2_auth: str | None = member("phase2-auth", _TEXT)
    password: str | None = member("password", _TEXT)

    def section(self) -> dict[str, object]:
        """Return the ``802-1x`` section. The list of methods ends with a separator."""
        return {
            "identity": self.identity,
            "eap": None if self.methods is None else (*self.methods, ""),
            "private-key": self.private_key,
            "client-cert": self.client_cert,
            "ca-cert": self.ca_cert,
            "private-key-password": revealed(self.private_key_password),
            "phase2-auth": self.phase2_auth,
            "password": revealed(self.password),
        }


def revealed(secret: str | None) -> str | None:
    """Return the secret, or None if it is the placeholder for one."""
    return None if secret == HIDDEN else secret


read: Final = Struct(Ieee8021X, open_ended=True)
