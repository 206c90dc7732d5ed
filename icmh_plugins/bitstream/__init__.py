"""Real streams: the `.icmh` container, and encoding and decoding with any codec."""
