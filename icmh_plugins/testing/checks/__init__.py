"""What the kit checks: one table per kind of plug-in, one function per check."""
