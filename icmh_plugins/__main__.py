"""``python -m icmh_plugins`` is the `icmh` command."""

from __future__ import annotations

from icmh_plugins.cli.app import main

if __name__ == "__main__":
    main()
