"""Checks of packages: what a stranger reads before installing one, and what is installed with it."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from typing import Final

from icmh_plugins.registry.discovery import normalise
from icmh_plugins.testing.checks.check import Check, NotApplicableError, demand
from icmh_plugins.testing.checks.package_case import HOST, PackageCase, name_of

KEYWORD: Final = "icmh-plugin"


def is_named_by_convention(case: PackageCase) -> None:
    """`icmh-*`, so that it is found."""
    demand(
        case.installed is not None and case.name.startswith("icmh-"),
        f"its name {case.name!r} does not begin with 'icmh-'. Remedy: name = 'icmh-{case.name}' in pyproject.toml",
    )


def has_a_readme(case: PackageCase) -> None:
    """A page on the package index."""
    text = case.metadata.get_payload() or case.metadata.get("Description") or ""
    demand(bool(text.strip()), "its metadata has no description. Remedy: readme = 'README.md' in pyproject.toml")


def has_a_licence(case: PackageCase) -> None:
    """Terms under which it may be used."""
    fields = [case.metadata.get(name) for name in ("License-Expression", "License", "License-File")]
    classifiers = [c for c in case.metadata.get_all("Classifier") or () if c.startswith("License ::")]
    demand(
        any(fields) or bool(classifiers),
        "its metadata names no licence. Remedy: license = 'MIT' (or another) and license-files in pyproject.toml",
    )


def has_the_keyword(case: PackageCase) -> None:
    """Found by searching for the keyword."""
    if case.name == HOST:
        raise NotApplicableError("it is icmh-plugins itself")
    words = {word.strip() for word in (case.metadata.get("Keywords") or "").replace(",", " ").split()}
    demand(
        KEYWORD in words,
        f"its keywords lack {KEYWORD!r}, which finds packages. Remedy: keywords = ['{KEYWORD}'] in pyproject.toml",
    )


def requires_its_host(case: PackageCase) -> None:
    """Installing it installs icmh-plugins."""
    if case.name == HOST:
        raise NotApplicableError("it is icmh-plugins itself")
    demand(
        HOST in case.requirements(),
        f"it does not require {HOST}. Remedy: dependencies = ['{HOST}>=...,<...'] in pyproject.toml",
    )


def declares_requirements(case: PackageCase) -> None:
    """What specs require is in the metadata, and so is what its files import."""
    declared, owners = case.provided(), packages_distributions()
    missing = {r for e in case.entries for r in getattr(e.spec, "requires", ()) if name_of(r) not in declared}
    demand(
        not missing,
        f"specs require {', '.join(sorted(missing))}, the metadata does not. Remedy: dependencies or "
        "optional-dependencies in pyproject.toml",
    )
    for name, file in case.imports().items():
        providers = {normalise(owner) for owner in owners.get(name, ())}
        demand(
            not providers or bool(providers & declared),
            f"{file} imports {name}, which the metadata does not require. Remedy: {' or '.join(sorted(providers))} "
            "among dependencies in pyproject.toml",
        )


CHECKS: Final = (
    Check("package-name", "The package is called `icmh-...`", is_named_by_convention),
    Check("package-readme", "Its metadata has a description", has_a_readme),
    Check("package-licence", "Its metadata names a licence", has_a_licence),
    Check("package-keyword", "Its keywords have `icmh-plugin`", has_the_keyword),
    Check("package-requires-host", "It requires icmh-plugins", requires_its_host),
    Check(
        "package-requires-declared",
        "All that its specs require and its files import is declared",
        declares_requirements,
    ),
)
