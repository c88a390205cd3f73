"""mic, the machine image customizer: CoreOS live images, customised per host while they stream."""

__version__ = "0.1.0"
