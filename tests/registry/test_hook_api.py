"""Versions of the hook API: other versions are told in one line, and docs/hooks.md says what the code says."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path

import pytest

from icmh_plugins import _version, hookimpl
from icmh_plugins.registry import hookspecs, specs
from icmh_plugins.registry.checks import HOOKS
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.manager import Registry
from icmh_plugins.registry.records import KINDS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "hook_api"
PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")
GIVEN = [*(spec for _, spec in KINDS.values()), specs.PluginInfo]
LISTING = """
import json
from icmh_plugins.registry import hookspecs
hookspecs.HOOK_API, hookspecs.OLDEST_HOOK_API = {newest}, {oldest}
import icmh_plugins
print(json.dumps({{plugin.name: plugin.reason for plugin in icmh_plugins.list_plugins()}}))
"""


@pytest.fixture(scope="module")
def reasons(install_distributions, python_with):
    """Why each fixture plug-in is out, with the hook API as given."""
    ask = python_with(install_distributions(*FIXTURES.iterdir()))

    def reasons(newest, oldest):
        done = ask("-c", LISTING.format(newest=newest, oldest=oldest))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return reasons


def test_a_plugin_for_a_newer_hook_api_says_what_to_update(reasons):
    expected = "it needs hook API 99, this icmh-plugins has 1: pip install --upgrade icmh-plugins"
    assert reasons(1, 1)["icmh-newer:main"] == expected


def test_a_plugin_for_an_older_hook_api_says_what_to_update(reasons):
    version = _version.__version__
    found = reasons(3, 2)
    expected = (
        f"it was written for hook API 1, icmh-plugins {version} supports 2 to 3: pip install --upgrade icmh-older"
    )
    assert found["icmh-older:main"] == expected
    assert found["icmh-plugins:builtin"] == ""


def test_a_plugin_for_an_older_hook_api_that_is_supported_works(reasons):
    assert reasons(3, 1)["icmh-older:main"] == ""


def test_a_plugin_that_asks_for_names_of_another_version_says_what_to_update(reasons):
    reason = reasons(1, 1)["icmh-asking:main"]
    assert reason.startswith("import failed: ImportError: cannot import name 'HologramSpec' from 'icmh_plugins'")
    assert reason.endswith(
        f"it was written for another version than icmh-plugins {_version.__version__}: "
        "pip install --upgrade icmh-plugins icmh-asking"
    )


class Old:
    @hookimpl
    def register_adapters(self):
        return [specs.AdapterSpec("gate", "somewhere:Gate", "Fine")]


def test_a_deprecated_hook_warns_its_author_and_works(monkeypatch):
    message = "register_adapters goes in 2.0: use register_things"
    deprecated = hookspecs.hookspec(warn_on_impl=FutureWarning(message))(lambda: None)
    monkeypatch.setattr(hookspecs, "register_adapters", deprecated)
    registry = Registry()
    with pytest.warns(FutureWarning, match=message) as caught:
        registry.add(Source("dist", "1.0", "main", Old))
    assert caught[0].filename == __file__
    assert [entry.name for entry in registry.entries("adapter")] == ["gate"]


def test_a_deprecated_argument_warns_its_author_and_works(monkeypatch):
    class Resolver:
        @hookimpl
        def resolve_codec_profile(self, model):
            return model

    message = "argument model goes in 2.0: use codec"
    spec = hookspecs.hookspec(firstresult=True, warn_on_impl_args={"model": FutureWarning(message)})
    monkeypatch.setattr(hookspecs, "resolve_codec_profile", spec(lambda model: None))
    registry = Registry()
    with pytest.warns(FutureWarning, match=message):
        registry.add(Source("dist", "1.0", "main", Resolver))
    assert registry.first_result("resolve_codec_profile", model=3) == 3


def test_an_implementation_may_take_fewer_arguments_than_its_hook():
    class Resolver:
        @hookimpl
        def resolve_codec_profile(self):
            return "always this"

    registry = Registry()
    registry.add(Source("dist", "1.0", "main", Resolver))
    assert registry.first_result("resolve_codec_profile", model=3) == "always this"


def hook_section(name: str) -> str:
    """What docs/hooks.md has to say of a hook."""
    function = getattr(hookspecs, name)
    signature = str(inspect.signature(function)).replace("'", "")
    return f"### `{name}{signature}`\n\n{in_markdown(inspect.getdoc(function))}\n"


def spec_section(cls: type) -> str:
    """What docs/hooks.md has to say of a spec."""
    meanings = {}
    for base in reversed(cls.__mro__):
        meanings |= attributes(base)
    rows = [f"| `{f.name}: {f.type}` | {default(f)} | {meanings[f.name]} |" for f in dataclasses.fields(cls)]
    table = "\n".join(["| field | default | |", "|---|---|---|", *rows])
    return f"### `{cls.__name__}`\n\n{in_markdown(inspect.getdoc(cls)).partition(chr(10))[0]}\n\n{table}\n"


def attributes(cls: type) -> dict[str, str]:
    """The entries of a docstring's section "Attributes"."""
    text = inspect.cleandoc(cls.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: in_markdown(" ".join(meaning.split())) for name, meaning in entries}


def default(field: dataclasses.Field) -> str:
    return "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def in_markdown(text: str) -> str:
    return text.replace("``", "`")


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_by_its_signature(name):
    assert hook_section(name) in PAGE


@pytest.mark.parametrize("cls", GIVEN, ids=lambda cls: cls.__name__)
def test_every_spec_is_documented_by_its_fields(cls):
    assert spec_section(cls) in PAGE


def test_only_hooks_and_specs_that_exist_are_documented():
    documented = set(re.findall(r"^### `(\w+)", PAGE, re.MULTILINE))
    assert documented == {*HOOKS, *(cls.__name__ for cls in GIVEN)}


def test_the_versions_are_those_of_the_code():
    assert f"`HOOK_API` | {hookspecs.HOOK_API} |" in PAGE
    assert f"`OLDEST_HOOK_API` | {hookspecs.OLDEST_HOOK_API} |" in PAGE
