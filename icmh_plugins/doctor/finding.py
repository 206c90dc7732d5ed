"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["ok", "absent", "broken", "mismatch"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one package, plug-in or part of the machine.

    Attributes:
        subject: What was looked at: ``"torchvision"``.
        state: "ok", "absent", "broken" (there, and does not work) or "mismatch" (does not fit something else).
        needed_for: Which of our features need it.
        version: Its version, if it has one.
        detail: What is wrong, or worth knowing.
        remedy: The command that mends it; empty where nothing is to be mended.
        source: How the mismatch is known.
        core: Nothing works without it.
    """

    subject: str
    state: State
    needed_for: str
    version: str = ""
    detail: str = ""
    remedy: str = ""
    source: str = ""
    core: bool = False

    @property
    def fatal(self) -> bool:
        """Whether it is core and does not work."""
        return self.core and self.state in ("broken", "absent")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self)
