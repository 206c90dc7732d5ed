"""Do streams travel? A few, decoded under other instruction sets and thread counts of this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from icmh_plugins.doctor.process import run

LIMIT = 600.0
"""Seconds that coding or decoding has."""

NOTE: Final = (
    "This machine only: a few made-up pictures, and instruction sets limited by environment variables. Other "
    "processors, other releases of torch, and GPUs were not tried, and other pictures may fare otherwise."
)
"""What the answer is worth."""

Verdict = Literal["same pixels", "same symbols", "breaks"]


@dataclass(frozen=True, slots=True)
class Setting:
    """A way to run a process: a name, and the environment variables that bring it about."""

    name: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Decoding:
    """What became of the stream under one setting.

    Attributes:
        setting: Its name.
        capability: What torch then used: "DEFAULT", "AVX2", "AVX512".
        threads: Of torch.
        verdict: "same pixels"; "same symbols" (pixels differ by rounding); "breaks" (for a picture at least: an error,
            or other symbols).
        decoded: Pictures with the same symbols.
        pictures: All pictures.
        difference: The largest of a pixel where symbols are the same, in [0, 1].
        detail: The first error.
    """

    setting: str
    capability: str
    threads: int
    verdict: Verdict
    decoded: int = 0
    pictures: int = 0
    difference: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Travel:
    """How the streams of one codec travel on this machine.

    Attributes:
        codec: As `load_codec` takes it.
        bytes: Size of the streams together.
        decodings: One a setting.
        error: Why no streams could be made; then there are no decodings.
    """

    codec: str
    bytes: int = 0
    decodings: tuple[Decoding, ...] = ()
    error: str = ""

    @property
    def broken(self) -> tuple[str, ...]:
        """Names of the settings where decoding breaks."""
        return tuple(each.setting for each in self.decodings if each.verdict == "breaks")

    def summary(self) -> str:
        """The answer in one sentence."""
        if self.error:
            return f"{self.codec} makes no streams here: {self.error}"
        if self.broken:
            return f"Streams of {self.codec} do not always decode. They break under: {', '.join(self.broken)}."
        largest = max(each.difference for each in self.decodings)
        if largest == 0:
            return f"Streams of {self.codec} decode to the same pixels under every setting tried."
        return (
            f"Streams of {self.codec} decode to the same symbols under every setting tried; pixels, in [0, 1], differ "
            f"by about {largest:.1g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return {**asdict(self), "summary": self.summary()}


def travel(codec: str, *, limit: float = LIMIT, done: Callable[[str], None] = lambda name: None) -> Travel:
    """Code pictures with `codec` and decode them under other settings, each in a process of its own.

    Args:
        codec: As `load_codec` takes it.
        limit: Seconds for each process.
        done: Told the name of each setting that was tried.
    """
    with tempfile.TemporaryDirectory(prefix="icmh-doctor-") as folder:
        made = run("icmh_plugins.doctor.coding:make", codec, folder, timeout=limit)
        if "error" in made:
            return Travel(codec, error=made["error"])
        decodings = []
        for setting in settings(made["capability"], made["threads"], os.cpu_count() or 1):
            answer = run("icmh_plugins.doctor.coding:read", codec, folder, timeout=limit, variables=setting.variables)
            decodings.append(_decoding(setting.name, answer))
            done(setting.name)
    return Travel(codec, made["bytes"], tuple(decodings))


def settings(capability: str, threads: int, processors: int) -> Iterator[Setting]:
    """What to try on a machine.

    Args:
        capability: What torch uses by itself: "AVX512", "AVX2", "DEFAULT", or that of another architecture.
        threads: What it uses by itself.
        processors: What the machine has.
    """
    yield Setting("as it is", {})
    if capability == "AVX512":
        yield Setting("no AVX-512", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"})
    if capability != "DEFAULT":
        yield Setting("baseline", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"})
    for count in sorted({1, 2, processors} - {threads}):
        yield Setting(f"{count} thread{'s' * (count > 1)}", {"OMP_NUM_THREADS": str(count)})


def _decoding(setting: str, answer: Mapping[str, Any]) -> Decoding:
    where = setting, answer.get("capability", ""), answer.get("threads", 0)
    if "error" in answer:
        return Decoding(*where, "breaks", detail=answer["error"])
    pictures = answer["pictures"]
    good = [each for each in pictures if each.get("symbols")]
    largest = max((each["difference"] for each in good), default=0.0)
    if len(good) < len(pictures):
        errors = (
            each.get("error", "decoded to other symbols, without an error") for each in pictures if each not in good
        )
        return Decoding(*where, "breaks", len(good), len(pictures), largest, next(errors))
    return Decoding(*where, "same symbols" if largest else "same pixels", len(good), len(pictures), largest)
