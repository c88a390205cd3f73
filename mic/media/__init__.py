"""The image core: base files and their contents, archives, and images as values.

No network, clock or environment. Reads files, never writes them.
"""
