"""Downloads: which client has read how much of which image.

Knows ranges and clients; the log, metrics and status pages that show them are elsewhere.
"""
