"""The HTTP side: images as resources, streamed by byte range."""
