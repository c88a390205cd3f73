"""Downloads base images and verifies them: `mic fetch`.

Knows HTTP as a client, proxies, stream metadata, digests and signatures of releases. What an image
contains is known by `mic.media`; what is printed, by `mic.cli.fetch`.
"""
