"""Whether a host can reach, by its network data, what its agent needs.

Pure. Knows which endpoints that are, and routing tables; where the data comes from is left to
`mic.nmstate` and `mic.settings`, who hears of a warning to `mic.hosts`.
"""

from mic.reachability.needs import Need, needs
from mic.reachability.reach import unreachable, warnings

__all__ = ["Need", "needs", "unreachable", "warnings"]
