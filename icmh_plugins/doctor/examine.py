"""Looking at packages, machine and plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from icmh_plugins.doctor.finding import Finding
from icmh_plugins.doctor.judge import judged, judged_python
from icmh_plugins.doctor.packages import PACKAGES, Package
from icmh_plugins.doctor.process import run
from icmh_plugins.doctor.versions import installed
from icmh_plugins.errors import ConfigError, suggest
from icmh_plugins.registry import catalog

LIMIT = 300.0
"""Seconds a package has. On an idle machine the slowest takes five; a loaded one can need a minute to read torch."""

_AT_ONCE = 2


def examine(
    names: Sequence[str] = (), *, limit: float = LIMIT, done: Callable[[str], None] = lambda name: None
) -> list[Finding]:
    """Try packages, each in a process of its own; look at Python, the machine and the plug-ins.

    Args:
        names: Packages to look at, by module, and nothing else. Without any: all packages, and everything else.
        limit: Seconds a package has.
        done: Told the name of each package that has been tried.

    Raises:
        ConfigError: A package that is not known here.
    """
    chosen = _chosen(names)
    versions = installed(package.distribution for package in PACKAGES)
    answers = _answers(chosen, limit, done)
    findings = [judged(package, answers[package.module], versions) for package in chosen]
    if names:
        return findings
    return [judged_python(versions), *findings, *_machine(answers["torch"]), *_plugins()]


def _chosen(names: Sequence[str]) -> list[Package]:
    known = {package.module: package for package in PACKAGES}
    for name in names:
        if name not in known:
            raise ConfigError(f"icmh doctor knows no package {name!r}.{suggest(name, known)}")
    return [known[name] for name in names] if names else list(PACKAGES)


def _answers(packages: Sequence[Package], limit: float, done: Callable[[str], None]) -> dict[str, Mapping[str, Any]]:
    """What trying each package gave, by module."""

    def tried(package: Package) -> Mapping[str, Any]:
        answer = run("icmh_plugins.doctor.checks:tried", package.module, timeout=limit)
        done(package.module)
        return answer

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip((package.module for package in packages), pool.map(tried, packages), strict=True))


def _machine(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """Processor and GPU, as torch sees them; nothing where torch does not work."""
    if "capability" not in facts:
        return
    detail = f"{facts['threads']} threads of torch, {facts['processors']} processors"
    detail += "" if facts["onednn"] else "; this torch has no oneDNN, convolutions are slow"
    yield Finding("cpu", "ok", "speed, and whether streams travel", facts["capability"], detail)
    build = facts["cuda_build"]
    without = f"no GPU that torch can use; it is built with{'' if build else 'out'} CUDA"
    state = "ok" if facts["cuda"] else "absent"
    yield Finding("cuda", state, "training and measuring on a GPU", build, facts["cuda"] or without)


def _plugins() -> Iterator[Finding]:
    """Plug-ins that are out, and why."""
    for record in catalog.list_plugins():
        if record.state == "failed":
            remedy = f"pip install --upgrade {record.distribution}"
            yield Finding(f"plug-in {record.name}", "broken", "what it offers", record.version, record.reason, remedy)
