"""What a codec is, and where an adapter may attach to it."""
