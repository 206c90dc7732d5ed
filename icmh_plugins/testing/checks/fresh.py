"""A fresh process that codes and decodes: started once, asked by lines of JSON.

It has seen nothing of the process that asks: other string hashes, other module state, another random state. Run as
``python -m icmh_plugins.testing.checks.fresh``.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from icmh_plugins.errors import IcmhError
from icmh_plugins.testing.checks.session import Origin, adopt


@dataclass(frozen=True)
class Answer:
    """What the other process made of a stream and a picture.

    Attributes:
        stream: The stream it coded.
        pixels: The pixels it decoded, nested lists of a (B, 3, H, W) tensor.
    """

    stream: bytes
    pixels: list[Any]


class FreshProcess:
    """The other process."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  (open as long as the process)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "random"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def recode(self, codec: str, folder: Path, stream: bytes, origin: Origin | None) -> Answer:
        """Load an adapter there, decode `stream` and code the kit's picture.

        Args:
            codec: Name of the codec.
            folder: The adapter.
            stream: A stream made with both.
            origin: Where the adapter's class is, if no installed package offers it.

        Raises:
            IcmhError: It failed there, or the process died.
        """
        question = {
            "codec": codec,
            "folder": str(folder),
            "stream": base64.b64encode(stream).decode(),
            "origin": origin.to_dict() if origin else None,
        }
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (OSError, json.JSONDecodeError) as error:
            fresh_process.cache_clear()
            raise IcmhError(f"the other process died: {self._last_words()}") from error
        if "error" in answer:
            raise IcmhError(f"in the other process: {answer['error']}")
        return Answer(base64.b64decode(answer["stream"]), answer["pixels"])

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing"


@cache
def fresh_process() -> FreshProcess:
    """The one other process of this one."""
    return FreshProcess()


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    from icmh_plugins.adapters.store import load_adapter
    from icmh_plugins.bitstream.coding import decode, encode
    from icmh_plugins.testing.checks.adapter_case import built_codec, picture

    if question["origin"] is not None:
        adopt(Origin(**question["origin"]))
    model = copy.deepcopy(built_codec(question["codec"]))
    load_adapter(model, question["folder"])
    pixels = decode(model, base64.b64decode(question["stream"])).tolist()
    return {"stream": base64.b64encode(encode(model, picture())).decode(), "pixels": pixels}


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what plug-ins print must not come between the answers
    for line in sys.stdin:
        try:
            answer = _answer(json.loads(line))
        except (Exception, SystemExit) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
