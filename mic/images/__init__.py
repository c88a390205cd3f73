"""Images in force: the published names, and the base files that their images are composed with.

Knows which version of a base is in force; leaves publishing and serving to its callers.
"""
