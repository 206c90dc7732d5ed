"""The packages that ``icmh new`` writes: plain files in ``assets/templates`` with `string.Template` placeholders."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Final, Literal

from icmh_plugins._version import __version__
from icmh_plugins.registry.hookspecs import HOOK_API

Kind = Literal["adapter", "task", "codec-profile"]

_FOLDER: Final = Path(__file__).parents[1] / "assets" / "templates"
_SUFFIX: Final = ".template"
_SUMMARIES: Final[dict[Kind, str]] = {
    "adapter": "A bounded gain per channel",
    "task": "Pictures that keep their edges",
    "codec-profile": "Sites of the codec {cls}Codec",
}
_REQUIREMENTS: Final[dict[Kind, str]] = {
    "adapter": '"pydantic>=2.6", "torch>=2.6"',
    "task": '"pydantic>=2.6", "torch>=2.6"',
    "codec-profile": '"compressai>=1.2.6", "torch>=2.6"',
}


def render(kind: Kind, name: str) -> dict[str, str]:
    """A complete package.

    Args:
        kind: What it offers.
        name: What users will type: ``"gate"``. The distribution is ``icmh-gate``, the package ``icmh_gate``.

    Returns:
        Texts by path in the package's folder, with "/" between parts.
    """
    values = _values(kind, name)
    files = {}
    for part in ("common", kind):
        for file in sorted((_FOLDER / part).rglob(f"*{_SUFFIX}")):
            path = file.relative_to(_FOLDER / part).as_posix().removesuffix(_SUFFIX)
            # Hidden files have no dot here, so that neither git nor the build of our wheel minds them.
            path = path.replace("package/", f"{values['package']}/").replace("dot-", ".")
            files[path] = Template(file.read_text(encoding="utf-8")).substitute(values)
    return files


def class_name(name: str) -> str:
    """``"soft-gate"`` as a class: ``"SoftGate"``."""
    return "".join(part.capitalize() for part in name.split("-"))


def package_name(name: str) -> str:
    """``"soft-gate"`` as an import package: ``"icmh_soft_gate"``."""
    return f"icmh_{name.replace('-', '_')}"


def _values(kind: Kind, name: str) -> dict[str, str]:
    cls = class_name(name)
    return {
        "name": name,
        "distribution": f"icmh-{name}",
        "package": package_name(name),
        "cls": cls,
        "summary": _SUMMARIES[kind].format(cls=cls),
        "requirements": _REQUIREMENTS[kind],
        "version": __version__,
        "next_major": str(int(__version__.partition(".")[0]) + 1),
        "hook_api": str(HOOK_API),
    }
