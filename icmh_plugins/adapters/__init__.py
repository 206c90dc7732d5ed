"""Named adapters on a codec: attaching, switching, files, and the adapters themselves."""
