"""How long newcomers wait before anything happens: seconds to import the package and to show the command's help.

    python benchmarks/startup.py

Wall time of fresh processes beyond that of an empty Python process, median of several. Aims: import below 0.15 s,
``icmh --help`` below 0.5 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 9
CASES = {
    "import icmh_plugins": ("-c", "import icmh_plugins"),
    "icmh --help": ("-m", "icmh_plugins", "--help"),
    "icmh plugins list": ("-m", "icmh_plugins", "plugins", "list"),
}


def seconds(*arguments: str) -> float:
    """Median wall time of a fresh Python process, after one warm-up."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    """Print one line a case."""
    empty = seconds("-c", "")
    print(f"Python {sys.version.split()[0]}: {empty:.3f} s for an empty process")
    for name, arguments in CASES.items():
        print(f"{name:<20} {seconds(*arguments) - empty:.3f} s")


if __name__ == "__main__":
    main()
