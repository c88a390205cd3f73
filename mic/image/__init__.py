"""The image core: base files, what lies in them, archives, and images as values.

No network, no clock, no environment in here. Files are read, never written.
"""
