"""Checks of packages: what a stranger who installs one relies on."""

from __future__ import annotations

from importlib.metadata import packages_distributions
from typing import Final

import typer

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.registry.discovery import normalise
from icmh_plugins.registry.manager import SLOW_MILLISECONDS
from icmh_plugins.registry.records import Entry
from icmh_plugins.registry.targets import import_target
from icmh_plugins.tasks.base import Task
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError, demand, in_words
from icmh_plugins.testing.checks.package_case import HOST, PackageCase, name_of

KEYWORD: Final = "icmh-plugin"


def loads(case: PackageCase) -> None:
    """Every plug-in of it works, in a fresh process."""
    plugins = case.listing["plugins"]
    demand(
        bool(plugins),
        'no entry point of the group icmh_plugins. Remedy: [project.entry-points.icmh_plugins] x = "package.plugin"',
    )
    wrong = [f"{each['name']} ({each['reason']})" for each in plugins if each["state"] != "ok"]
    demand(not wrong, f"out: {'; '.join(wrong)}. Remedy: ICMH_STRICT_PLUGINS=1 shows the traceback")
    demand(bool(case.entries), "it offers nothing. Remedy: yield a spec from one of the register_ hooks")


def is_quick(case: PackageCase) -> None:
    """Listing it costs little: it is paid by every `icmh --help`."""
    spent = case.listing["milliseconds"]
    demand(
        spent <= SLOW_MILLISECONDS,
        f"listing it takes {spent:.0f} ms of processor time, {SLOW_MILLISECONDS:.0f} are allowed. Remedy: import heavy "
        "packages in the module of the adapter or task, and name that by its import string",
    )


def imports_nothing_heavy(case: PackageCase) -> None:
    """Listing imports no torch, and nothing else of its size."""
    heavy = case.listing["heavy"]
    demand(
        not heavy,
        f"listing it imports {', '.join(heavy)}. Remedy: a plug-in module of hooks and specs alone; the class goes "
        "into another module, and the package's __init__ does not import it",
    )


def is_silent(case: PackageCase) -> None:
    """Nothing is printed while plug-ins are listed."""
    printed = case.listing["printed"]
    demand(not printed, f"it prints while it is imported: {printed[:80]!r}. Remedy: logging, or nothing")


def targets_resolve(case: PackageCase) -> None:
    """Every import string leads to what it should."""
    for entry in case.entries:
        try:
            target = import_target(entry)
        except Exception as error:
            raise UnmetError(f"{entry.kind} {entry.name!r}: {in_words(error)}") from error
        demand(
            _is_of_kind(entry, target),
            f"{entry.kind} {entry.name!r}: {entry.spec.target} is {target!r}. Remedy: {_WANTED[entry.kind]}",
        )


def names_its_hook_api(case: PackageCase) -> None:
    """`plugin_info` says for which hook API it was written."""
    silent = [record.name for record in case.records if not record.info.summary]
    demand(
        not silent,
        f"{', '.join(silent)} does not describe itself. Remedy: plugin_info() that returns PluginInfo('what it is', "
        "hook_api=1)",
    )


def has_summaries(case: PackageCase) -> None:
    """Each thing on offer has one line for listings."""
    wrong = [e.name for e in case.entries if not e.spec.summary.strip() or len(e.spec.summary.splitlines()) != 1]
    demand(not wrong, f"{', '.join(wrong)} has no summary of one line. Remedy: the third argument of its spec")


def clashes_with_nothing(case: PackageCase) -> None:
    """Its names are not those of built-ins."""
    if case.name == HOST:
        raise NotApplicableError("it is icmh-plugins itself")
    built_in = {(e.kind, e.name) for e in PackageCase(HOST).entries}
    taken = [f"{e.kind} {e.name}" for e in case.entries if (e.kind, e.name) in built_in]
    demand(
        not taken, f"built-ins have the name of {', '.join(taken)}, so users must write dist:name. Remedy: another name"
    )


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
    declared = case.requirements() | {case.name}
    specs = {
        r for e in case.entries for r in getattr(e.spec, "requires", ()) if name_of(r) not in declared | _host_has()
    }
    demand(
        not specs,
        f"specs require {', '.join(sorted(specs))}, the metadata does not. Remedy: dependencies or "
        "optional-dependencies in pyproject.toml",
    )
    owners = packages_distributions()
    for name, file in case.imports().items():
        providers = {normalise(owner) for owner in owners.get(name, ())}
        demand(
            not providers or bool(providers & (declared | _host_has())),
            f"{file} imports {name}, which the metadata does not require. Remedy: {' or '.join(sorted(providers))} "
            "among dependencies in pyproject.toml",
        )


_WANTED: Final = {
    "adapter": "a subclass of icmh_plugins.Adapter",
    "task": "a subclass of icmh_plugins.Task",
    "codec-profile": "a CodecProfile, or a function of the model that returns one",
    "command": "a function or a typer app",
}


def _is_of_kind(entry: Entry, target: object) -> bool:
    if entry.kind in ("adapter", "task"):
        base = Adapter if entry.kind == "adapter" else Task
        return isinstance(target, type) and issubclass(target, base)
    return callable(target) or isinstance(target, CodecProfile if entry.kind == "codec-profile" else typer.Typer)


def _host_has() -> set[str]:
    """What installing icmh-plugins brings, without extras."""
    required = PackageCase(HOST).installed.requires or ()
    return {name_of(requirement) for requirement in required if "extra ==" not in requirement} | {HOST}


CHECKS: Final = (
    Check("package-loads", "Every plug-in of it works in a fresh process, and offers something", loads),
    Check("package-import-time", "Listing it takes less than 0.3 s of processor time", is_quick),
    Check("package-no-torch", "Listing it imports neither torch nor anything of that size", imports_nothing_heavy),
    Check("package-silent", "Nothing is printed while it is listed", is_silent),
    Check("package-targets", "Every target can be imported, and is of its kind", targets_resolve),
    Check("package-hook-api", "`plugin_info` describes it and names its hook API", names_its_hook_api),
    Check("package-summaries", "Each thing on offer has a summary of one line", has_summaries),
    Check("package-names-free", "No name of a built-in is taken", clashes_with_nothing),
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
