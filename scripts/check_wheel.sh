#!/usr/bin/env bash
# Build the wheel, install it with its dependencies in an empty virtual environment, and use it outside the clone.
# Argument: a Python with `build` and `hatchling` (make wheel-test passes the one in .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
scratch=$PWD/build/wheel-test
elsewhere=$(mktemp -d)
trap 'rm -rf "$scratch" "$elsewhere"' EXIT
unset PYTHONPATH

rm -rf "$scratch"
"$python" -m build --wheel --no-isolation --outdir "$scratch/dist"
"$python" -m venv "$scratch/env"
install=("$scratch/env/bin/python" -m pip --disable-pip-version-check install --no-compile)
wheel=$(echo "$scratch"/dist/*.whl)
"${install[@]}" "$wheel"

smoke=$PWD/tests/packaging/smoke.py
cd "$elsewhere"
"$scratch/env/bin/python" -I -c '
import icmh_plugins, sys
assert icmh_plugins.__file__.startswith(sys.prefix), f"imported from {icmh_plugins.__file__}, not from the wheel"'
"$scratch/env/bin/python" -I "$smoke"

"${install[@]}" "$wheel[demo]"
"$scratch/env/bin/icmh" demo --quick
echo "the wheel works in an empty environment"
