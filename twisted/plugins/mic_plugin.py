"""Makes ``twistd mic`` known to twistd."""

from twisted.application.service import ServiceMaker

mic = ServiceMaker("mic", "mic.cli.twistd", "Machine image customizer", "mic")
