"""From what a trial gave and which versions are installed to a finding."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from icmh_plugins._deps import install_command
from icmh_plugins.doctor.finding import Finding
from icmh_plugins.doctor.known import diagnosis, torchvision_pair
from icmh_plugins.doctor.packages import Package
from icmh_plugins.doctor.versions import demanded, satisfies


def judged(package: Package, answer: Mapping[str, Any], versions: Mapping[str, str]) -> Finding:
    """The finding of one package.

    Args:
        package: What was tried.
        answer: What `checks.tried` gave, or `process.run` in its place.
        versions: Of all distributions, and of ``"python"``.
    """
    version = versions.get(package.distribution) or answer.get("version", "")
    finding = Finding(package.module, "ok", package.needed_for, version, core=package.core)
    error, missing = answer.get("error", ""), answer.get("missing", "")
    if missing == package.module:
        plain = replace(finding, state="absent", remedy=install_command(package.module))
        return _known(plain, package, "", versions) or plain
    if package.module == "torchvision" and (pair := torchvision_pair(versions)):
        return _mispaired(finding, *pair, error)
    if known := _known(finding, package, error, versions):
        return known
    if missing:
        return replace(
            finding, state="broken", detail=f"it needs {missing}, which is absent", remedy=install_command(missing)
        )
    if error:
        remedy = f"pip install --force-reinstall --no-deps {package.distribution}"
        return replace(finding, state="broken", detail=error, remedy=remedy)
    return _aged(finding, package.distribution) or replace(finding, detail=answer.get("remark", ""))


def judged_python(versions: Mapping[str, str]) -> Finding:
    """The finding of the interpreter."""
    detail = f"{platform.python_implementation()} on {platform.system()} {platform.machine()}"
    finding = Finding("python", "ok", "everything", versions["python"], detail, core=True)
    row = diagnosis("python", "", versions)
    if row is None:
        return finding
    return replace(finding, state=row.state, detail=row.why, remedy=row.remedy, source=row.source)


def _known(finding: Finding, package: Package, error: str, versions: Mapping[str, str]) -> Finding | None:
    row = diagnosis(package.module, error, versions)
    if row is None:
        return None
    detail = f"{row.why} ({error})" if error else row.why
    remedy = row.remedy.format(distribution=package.distribution)
    return replace(finding, state=row.state, detail=detail, remedy=remedy, source=row.source)


def _mispaired(finding: Finding, torch: str, torchvision: str, error: str) -> Finding:
    detail = f"torch {torch} needs torchvision {torchvision}" + (f" ({error})" if error else "")
    remedy = f"pip install 'torch=={torch}.*' 'torchvision=={torchvision}.*'"
    return replace(
        finding, state="mismatch", detail=detail, remedy=remedy, source="requirements of torchvision's wheels"
    )


def _aged(finding: Finding, distribution: str) -> Finding | None:
    """The finding of a version that icmh-plugins does not take."""
    wanted = demanded(distribution)
    if not finding.version or satisfies(finding.version, wanted):
        return None
    remedy = f"pip install '{distribution}{wanted}'"
    detail, source = f"icmh-plugins needs {distribution}{wanted}", "requirements of icmh-plugins"
    return replace(finding, state="mismatch", detail=detail, remedy=remedy, source=source)
