"""Shared pieces: errors, files, text, threads, durations, back-off, health.

Knows nothing of images, hosts or HTTP, and imports no other room.
"""
