"""The main job on real parts, offline: what `icmh demo` runs, stage by stage."""
