"""Checks of packages: what listing their plug-ins costs, and whether all on offer is there."""

from __future__ import annotations

from typing import Final

import typer

from icmh_plugins.adapters.base import Adapter
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.errors import in_words
from icmh_plugins.registry.manager import SLOW_MILLISECONDS
from icmh_plugins.registry.records import Entry
from icmh_plugins.registry.targets import import_target
from icmh_plugins.tasks.base import Task
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError, demand
from icmh_plugins.testing.checks.package_case import HOST, PackageCase

_WANTED: Final = {
    "adapter": "a subclass of icmh_plugins.Adapter",
    "task": "a subclass of icmh_plugins.Task",
    "codec-profile": "a CodecProfile, or a function of the model that returns one",
    "command": "a function or a typer app",
}


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


def _is_of_kind(entry: Entry, target: object) -> bool:
    if entry.kind in ("adapter", "task"):
        base = Adapter if entry.kind == "adapter" else Task
        return isinstance(target, type) and issubclass(target, base)
    return callable(target) or isinstance(target, CodecProfile if entry.kind == "codec-profile" else typer.Typer)


CHECKS: Final = (
    Check("package-loads", "Every plug-in of it works in a fresh process, and offers something", loads),
    Check("package-import-time", "Listing it takes less than 0.3 s of processor time", is_quick),
    Check("package-no-torch", "Listing it imports neither torch nor anything of that size", imports_nothing_heavy),
    Check("package-silent", "Nothing is printed while it is listed", is_silent),
    Check("package-targets", "Every target can be imported, and is of its kind", targets_resolve),
    Check("package-hook-api", "`plugin_info` describes it and names its hook API", names_its_hook_api),
    Check("package-summaries", "Each thing on offer has a summary of one line", has_summaries),
    Check("package-names-free", "No name of a built-in is taken", clashes_with_nothing),
)
