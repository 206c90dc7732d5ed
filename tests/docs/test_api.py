"""The API page and "all on one page" leave no public name out, and name nothing that does not exist."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import icmh_plugins as icmh
from icmh_plugins import testing
from icmh_plugins.registry import hookspecs, specs

DOCS = Path(__file__).parents[2] / "docs"
API = (DOCS / "api.md").read_text(encoding="utf-8")
ALL = (DOCS / "all.md").read_text(encoding="utf-8")
DOCUMENTED = re.findall(r"^\.\. auto(?:function|class|data|module):: (\S+)$", API, re.MULTILINE)
PUBLIC = sorted(set(icmh.__all__) - {"__version__", "hookimpl"})
HOOKS = sorted(each for each in vars(hookspecs) if hasattr(getattr(hookspecs, each), f"{hookspecs.PROJECT}_spec"))
CONTRACTS = {"Adapter", "AdapterConfig", "Task", "TaskConfig", "TaskLoss", "CodecProfile", "Site"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert f"icmh_plugins.{name}" in DOCUMENTED or f"icmh_plugins.{name}" in _members("icmh_plugins.errors")


@pytest.mark.parametrize("name", DOCUMENTED)
def test_documented_names_exist_and_say_what_they_are(name):
    module, _, attribute = name.rpartition(".")
    assert (getattr(importlib.import_module(module), attribute).__doc__ or "").strip()


def test_the_contracts_of_plugins_are_documented():
    assert set(PUBLIC) >= CONTRACTS
    assert len(HOOKS) >= 6
    assert {f"icmh_plugins.registry.hookspecs.{hook}" for hook in HOOKS} <= set(DOCUMENTED)
    kinds = {name for name, each in vars(specs).items() if isinstance(each, type) and each.__module__ == specs.__name__}
    assert {f"icmh_plugins.{name}" for name in kinds - {"Spec"}} <= set(DOCUMENTED)
    assert {f"icmh_plugins.testing.{name}" for name in testing.__all__} <= set(DOCUMENTED)


def test_hookimpl_is_named():
    assert "`icmh_plugins.hookimpl`" in API


@pytest.mark.parametrize("name", [*PUBLIC, "__version__", "hookimpl"])
def test_all_on_one_page_uses_every_public_name(name):
    code = "".join(re.findall(r"^```python\n(.*?)^```$", ALL, re.MULTILINE | re.DOTALL))
    imported = " ".join(re.findall(r"^from icmh_plugins import (.+)$", code, re.MULTILINE))
    assert re.search(rf"\bicmh\.{name}\b", code) or re.search(rf"\b{name}\b", imported)


def _members(module: str) -> set[str]:
    """What `automodule` documents of a module."""
    return {f"icmh_plugins.{name}" for name in vars(importlib.import_module(module))} if module in DOCUMENTED else set()
