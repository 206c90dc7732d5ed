"""Questions to the registry of this process, with plug-ins registered for the session."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest

import icmh_plugins
from icmh_plugins import AdapterSpec, CodecProfileSpec, hookimpl
from icmh_plugins.errors import PluginError, UnknownPluginError
from icmh_plugins.registry import catalog, discovery
from icmh_plugins.registry.records import KINDS


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "*")
    catalog.reload()
    yield
    monkeypatch.undo()
    catalog.reload()


class Offers:
    def __init__(self, *specs):
        self.specs = specs

    @hookimpl
    def register_adapters(self):
        return [spec for spec in self.specs if isinstance(spec, AdapterSpec)]

    @hookimpl
    def register_codec_profiles(self):
        return [spec for spec in self.specs if isinstance(spec, CodecProfileSpec)]


def test_built_ins_come_through_the_same_hooks():
    (record,) = catalog.list_plugins()
    assert (record.name, record.version, record.state) == ("icmh-plugins:builtin", icmh_plugins.__version__, "ok")
    assert set(record.provides) == set(KINDS)
    assert {"sfma", "bottleneck"} <= set(catalog.specs("adapter"))
    assert {"classification", "human"} <= set(catalog.specs("task"))
    assert "adapt-icmh" in catalog.specs("codec-profile")
    assert catalog.provider("adapter", "sfma") == ("icmh-plugins", icmh_plugins.__version__)
    assert catalog.qualified_name("task", "human") == "icmh-plugins:human"


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_names_get_the_nearest_known_one(kind):
    known = next(iter(catalog.specs(kind)))
    with pytest.raises(UnknownPluginError, match=f"Did you mean '{known}'"):
        catalog.resolve(kind, f"{known}x")
    with pytest.raises(UnknownPluginError, match="There is no"):
        catalog.resolve(kind, f"elsewhere:{known}")


@pytest.mark.parametrize("name", [3, None, ["human"]])
def test_only_strings_are_names(name):
    for ask in (catalog.find, catalog.resolve, catalog.qualified_name, catalog.provider):
        with pytest.raises(UnknownPluginError, match=r"names are strings\. Known: .*human"):
            ask("task", name)


def test_an_unknown_kind_is_refused():
    with pytest.raises(PluginError, match="Did you mean 'adapter'"):
        catalog.specs("adapters")


def test_a_session_plugin_is_offered_replaced_and_forgotten():
    catalog.register_plugin(Offers(AdapterSpec("gate", "string:Template", "First")), "mine")
    assert catalog.resolve("adapter", "gate").__name__ == "Template"
    assert catalog.qualified_name("adapter", "gate") == "session:gate"
    catalog.register_plugin(Offers(AdapterSpec("other", "string:Formatter", "Second")), "mine")
    assert "gate" not in catalog.specs("adapter")
    assert catalog.resolve("adapter", "session:other").__name__ == "Formatter"
    catalog.reload()
    assert "other" not in catalog.specs("adapter")


def test_a_module_can_be_a_session_plugin():
    module = ModuleType("notebook")
    module.register_adapters = hookimpl(lambda: [AdapterSpec("cell", "string:Template", "From a notebook")])
    catalog.register_plugin(module, "notebook")
    assert "cell" in catalog.specs("adapter")


@pytest.mark.parametrize(("plugin", "name"), [(object(), "empty"), (Offers(), "Bad Name")])
def test_an_unusable_session_plugin_raises_and_is_not_listed(plugin, name):
    before = catalog.list_plugins()
    with pytest.raises(PluginError):
        catalog.register_plugin(plugin, name)
    assert catalog.list_plugins() == before


def test_a_name_offered_twice_must_be_qualified():
    catalog.register_plugin(Offers(AdapterSpec("sfma", "string:Template", "Also called sfma")), "mine")
    names = catalog.specs("adapter")
    assert {"icmh-plugins:sfma", "session:sfma"} <= set(names)
    assert "sfma" not in names
    with pytest.raises(PluginError, match="'icmh-plugins:sfma' or 'session:sfma'"):
        catalog.resolve("adapter", "sfma")
    assert catalog.resolve("adapter", "session:sfma").__name__ == "Template"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("icmh_nowhere.parts:Gate", "the module does not exist"),
        ("icmh_plugins.nowhere:Gate", "the module does not exist"),
        ("string:Templat", "'Templat' does not exist there. Did you mean 'Template'"),
    ],
)
def test_a_wrong_target_is_explained(target, message):
    catalog.register_plugin(Offers(AdapterSpec("gate", target, "Wrong target")), "mine")
    with pytest.raises(PluginError, match=message):
        catalog.resolve("adapter", "gate")


class Strange:
    pass


def test_two_profiles_for_one_class_are_not_chosen_between():
    def profile(name):
        return CodecProfileSpec(name, "string:digits", "A profile", class_names=("Strange",))

    catalog.register_plugin(Offers(profile("one")), "a")
    assert catalog.resolve_codec_profile(Strange()) == "0123456789"
    catalog.register_plugin(Offers(profile("two")), "b")
    with pytest.raises(PluginError, match="preset='session:one' or preset='session:two'"):
        catalog.resolve_codec_profile(Strange())


def test_many_threads_load_once(monkeypatch):
    loads = []
    real = discovery.builtin_source()
    counted = discovery.Source(real.distribution, real.version, real.entry, lambda: loads.append(1) or real.load())
    monkeypatch.setattr("icmh_plugins.registry.manager.builtin_source", lambda: counted)
    monkeypatch.setattr("icmh_plugins.registry.process._registry", None)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: catalog.list_plugins(), range(32)))
    assert len(loads) == 1
    assert all(record is results[0][0] for (record,) in results)


def test_a_plugin_that_asks_while_it_is_imported_fails_alone(monkeypatch):
    def curious():
        return catalog.list_plugins()

    sources = [discovery.Source("curious", "1", "main", curious)]
    monkeypatch.setenv("ICMH_BLOCK_PLUGINS", "")
    monkeypatch.setattr("icmh_plugins.registry.manager.installed_sources", lambda: sources)
    catalog.reload()
    record = catalog.list_plugins()[-1]
    assert (record.state, record.reason.split(":")[1].strip()) == ("failed", "plug-ins are still being loaded")
    assert "sfma" in catalog.specs("adapter")


def test_asking_imports_no_target():
    catalog.register_plugin(Offers(AdapterSpec("gate", "wave:open", "A module nobody has loaded")), "mine")
    sys.modules.pop("wave", None)
    catalog.specs("adapter")
    catalog.find("adapter", "gate")
    assert "wave" not in sys.modules
