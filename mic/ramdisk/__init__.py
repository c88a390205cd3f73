"""Content of images of ramdisks that are not CoreOS: agent settings, network, certificates.

Knows the paths that such a ramdisk reads them from. Does no I/O; `mic.media` lays the archive after
the initramfs, and into virtual ISOs.
"""
