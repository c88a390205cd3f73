"""Commands: the entry points, their flags and what they print.

Knows arguments and terminals; the work is left to the other rooms.
"""
