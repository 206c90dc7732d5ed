"""Pictures: reading and writing files, datasets of them, crops that a resumed run repeats exactly."""
