"""Views of mic itself: log, metrics, health pages, status socket, systemd.

Knows formats and protocols; what there is to show comes from the other rooms.
"""
