"""How long newcomers wait before anything happens: seconds to import the package and to show the command's help.

    python benchmarks/startup.py

Wall time of fresh processes, taken in turns with an empty Python process; medians. Aims beyond the empty process:
import below 0.15 s, ``icmh --help`` below 0.5 s.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import Any

from timing import in_turns

CASES = {
    "python -c pass": ("-c", "pass"),
    "import icmh_plugins": ("-c", "import icmh_plugins"),
    "icmh --help": ("-m", "icmh_plugins", "--help"),
    "icmh plugins list": ("-m", "icmh_plugins", "plugins", "list"),
}


def measure(repeats: int = 11) -> dict[str, Any]:
    """Seconds by case, those of an empty process included."""
    actions = {name: partial(_process, arguments) for name, arguments in CASES.items()}
    return {"repeats": repeats, "python": sys.version.split()[0], "seconds": in_turns(actions, repeats)}


def _process(arguments: tuple[str, ...]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print one line a case."""
    seconds = measure()["seconds"]
    empty = seconds["python -c pass"]
    for name, value in seconds.items():
        print(f"{name:<20} {value:.3f} s, {value - empty:+.3f} s over an empty process")


if __name__ == "__main__":
    main()
