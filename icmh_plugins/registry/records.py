"""What the registry knows: one `PluginRecord` per plug-in found, one `Entry` per thing offered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from icmh_plugins.registry.specs import AdapterSpec, CodecProfileSpec, CommandSpec, PluginInfo, Spec, TaskSpec

Kind = Literal["adapter", "task", "codec-profile", "command"]
State = Literal["ok", "failed", "blocked"]

KINDS: Final[Mapping[Kind, tuple[str, type[Spec]]]] = {
    "adapter": ("register_adapters", AdapterSpec),
    "task": ("register_tasks", TaskSpec),
    "codec-profile": ("register_codec_profiles", CodecProfileSpec),
    "command": ("register_cli_commands", CommandSpec),
}
"""For each kind of thing, the hook that offers it and the spec that describes it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on offer, and who offers it.

    Attributes:
        kind: "adapter", "task", "codec-profile" or "command".
        spec: Its description.
        distribution: Normalised name of the offering package.
        version: That package's version; empty for plug-ins registered in this session.
    """

    kind: Kind
    spec: Spec
    distribution: str
    version: str

    @property
    def name(self) -> str:
        """The bare name: ``"sfma"``."""
        return self.spec.name

    @property
    def qualified_name(self) -> str:
        """The name that is never ambiguous: ``"icmh-plugins:sfma"``."""
        return f"{self.distribution}:{self.spec.name}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        provider = {"distribution": self.distribution, "version": self.version}
        return {"qualified_name": self.qualified_name, **asdict(self.spec), **provider}


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """What became of one plug-in.

    Attributes:
        name: ``"distribution:entry point"``.
        distribution: Normalised name of the package.
        version: Its version; empty for plug-ins registered in this session.
        state: "ok", "failed" (rolled back completely) or "blocked" (not even imported).
        reason: One line: why it is out, or a remark on one that works (slow to import). Empty otherwise.
        milliseconds: Time its import and registration took.
        provides: Names offered, by kind.
        info: What it says of itself.
    """

    name: str
    distribution: str
    version: str
    state: State
    reason: str = ""
    milliseconds: float = 0.0
    provides: Mapping[Kind, tuple[str, ...]] = field(default_factory=dict)
    info: PluginInfo = field(default_factory=PluginInfo)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self)
