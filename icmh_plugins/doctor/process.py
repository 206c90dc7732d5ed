"""A function of ours in a fresh Python process: whatever happens there, this one goes on."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

_CODE = "import sys, json; sys.path[:] = json.loads(sys.argv[1]); from {here} import serve; serve(*sys.argv[2:])"


def run(function: str, *arguments: str, timeout: float, variables: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Call ``"module:function"`` with strings, in a process that sees the same packages as this one.

    Args:
        function: It returns a JSON-ready dict.
        *arguments: Of the function.
        timeout: Seconds.
        variables: Environment variables to set there.

    Returns:
        That dict, or ``{"error": ...}`` if the process crashed or was too slow.
    """
    code = _CODE.format(here=__name__)
    command = [sys.executable, "-c", code, json.dumps(sys.path), function, *arguments]
    environment = {**os.environ, **(variables or {})}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {timeout:g} seconds"}
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        last = done.stderr.strip().splitlines()[-1:] or [""]
        return {"error": f"the process {_ending(done.returncode)}. {last[0]}".strip()[:500]}


def serve(function: str, *arguments: str) -> None:
    """The other side of `run`: call the function and write its answer, alone, to stdout."""
    stdout = os.dup(1)
    os.dup2(2, 1)  # packages print what they like while they are imported
    module, _, name = function.partition(":")
    answer = getattr(importlib.import_module(module), name)(*arguments)
    os.write(stdout, json.dumps(answer).encode())


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
