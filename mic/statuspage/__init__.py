"""The status page: what ``mic status`` knows, as one HTML page on a port of its own.

Knows rows, queries, HTML and the names it answers to; leaves it to its callers where the values
come from.
"""
