"""Settings: every variable and flag, read once into values.

Knows names, parsers and defaults; what the values are for is left to the other rooms.
"""
