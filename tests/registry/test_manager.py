"""The isolating loader: a plug-in is in completely or out completely."""

from __future__ import annotations

import pytest

from icmh_plugins import AdapterSpec, PluginInfo, TaskSpec, hookimpl
from icmh_plugins.errors import PluginError
from icmh_plugins.registry.discovery import Source
from icmh_plugins.registry.manager import Registry


class Good:
    @hookimpl
    def register_adapters(self):
        return [AdapterSpec("gate", "somewhere:Gate", "Fine")]


class Raises(Good):
    @hookimpl
    def register_tasks(self):
        yield TaskSpec("half", "somewhere:Half", "Yielded before the failure")
        raise ValueError("no\ntasks today")


class WrongType(Good):
    @hookimpl
    def register_tasks(self):
        yield AdapterSpec("thing", "somewhere:Thing", "An adapter among tasks")


class NotIterable:
    @hookimpl
    def register_adapters(self):
        return AdapterSpec("gate", "somewhere:Gate", "Not in a list")


class Twice:
    @hookimpl
    def register_adapters(self):
        yield AdapterSpec("gate", "somewhere:Gate", "First")
        yield AdapterSpec("gate", "somewhere:Gate", "Second")


class BadName:
    @hookimpl
    def register_adapters(self):
        yield AdapterSpec("Two Words", "somewhere:Gate", "Bad name")


class Exits:
    @hookimpl
    def register_adapters(self):
        raise SystemExit(3)


class Defaulted:
    @hookimpl
    def resolve_codec_profile(self, model=None):
        return None


class Unmarked:
    def register_adapters(self):
        return []


class Empty:
    pass


class OddInfo(Good):
    @hookimpl
    def plugin_info(self):
        return {"hook_api": 1}


def source(plugin, distribution="dist", entry="main"):
    return Source(distribution, "1.0", entry, lambda: plugin)


def names(registry, kind="adapter"):
    return [entry.qualified_name for entry in registry.entries(kind)]


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (Raises(), "register_tasks failed: ValueError: no tasks today"),
        (WrongType(), "register_tasks must yield TaskSpec, got AdapterSpec(name='thing'"),
        (NotIterable(), "register_adapters failed: TypeError: 'AdapterSpec' object is not iterable"),
        (Twice(), "register_adapters offers 'gate', which dist offers already."),
        (BadName(), "register_adapters failed: AdapterSpec name 'Two Words' is not usable"),
        (Exits(), "register_adapters failed: SystemExit: 3"),
        (Defaulted(), "resolve_codec_profile: argument 'model' has a default"),
        (Unmarked(), "register_adapters lacks the marker"),
        (Empty(), "it implements no hook. Known: plugin_info, register_adapters"),
        (OddInfo(), "plugin_info must return PluginInfo, got {'hook_api': 1}."),
        (Good, "register_adapters has no argument 'self'; it takes none."),
    ],
)
def test_a_bad_plugin_is_rolled_back_and_recorded(plugin, reason):
    registry = Registry()
    registry.add(source(plugin))
    (record,) = registry.records
    assert (record.name, record.state) == ("dist:main", "failed")
    assert record.reason.startswith(reason)
    assert names(registry, "adapter") == names(registry, "task") == []
    registry.add(source(Good(), "other"))
    assert names(registry) == ["other:gate"]


def test_a_failing_import_is_recorded_and_a_keyboard_interrupt_is_not_swallowed():
    def leave():
        raise SystemExit("no display")

    def interrupt():
        raise KeyboardInterrupt

    registry = Registry()
    registry.add(Source("dist", "1.0", "main", leave))
    assert registry.records[0].reason == "import failed: SystemExit: no display"
    with pytest.raises(KeyboardInterrupt):
        registry.add(Source("dist", "1.0", "other", interrupt))


def test_strict_raises_with_the_cause_and_records_nothing(monkeypatch):
    monkeypatch.setenv("ICMH_STRICT_PLUGINS", "1")
    registry = Registry()
    with pytest.raises(PluginError, match=r"Plug-in dist:main cannot be used: register_tasks failed") as caught:
        registry.add(source(Raises()))
    assert isinstance(caught.value.__cause__.__cause__, ValueError)
    assert registry.records == ()


def test_one_object_cannot_be_registered_twice():
    registry, plugin = Registry(), Good()
    registry.add(source(plugin))
    registry.add(source(plugin, entry="again"))
    assert registry.records[1].reason == "it is registered already, as dist:main."
    assert names(registry) == ["dist:gate"]


def test_equal_entry_names_of_two_distributions_are_kept_apart():
    registry = Registry()
    registry.add(source(Good(), "a"))
    registry.add(source(Good(), "b"))
    assert [record.state for record in registry.records] == ["ok", "ok"]
    assert names(registry) == ["a:gate", "b:gate"]


def test_a_name_taken_by_another_plugin_of_the_same_distribution_is_refused():
    registry = Registry()
    registry.add(source(Good()))
    registry.add(source(Good(), entry="second"))
    assert registry.records[1].reason == "register_adapters offers 'gate', which dist offers already."
    assert names(registry) == ["dist:gate"]


def test_optional_hooks_and_other_function_names_are_allowed():
    class Modern:
        @hookimpl(optionalhook=True)
        def register_from_a_later_version(self):
            return []

        @hookimpl(specname="register_adapters")
        def my_adapters(self):
            return [AdapterSpec("gate", "somewhere:Gate", "Fine")]

        @hookimpl
        def plugin_info(self):
            return PluginInfo("Modern", hook_api=1)

    registry = Registry()
    registry.add(source(Modern()))
    assert registry.records[0].state == "ok"
    assert registry.records[0].info.summary == "Modern"
    assert names(registry) == ["dist:gate"]


class Resolver:
    def __init__(self, answer):
        self.answer = answer

    @hookimpl
    def resolve_codec_profile(self, model):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer and (self.answer, model)


def test_the_first_answer_in_listing_order_wins_and_a_failing_plugin_is_passed_over(caplog):
    registry = Registry()
    for entry, answer in {"a": RuntimeError("oops"), "b": None, "c": "third", "d": "fourth"}.items():
        registry.add(source(Resolver(answer), entry=entry))
    assert registry.first_result("resolve_codec_profile", model="codec") == ("third", "codec")
    assert "plug-in dist:a: resolve_codec_profile failed: RuntimeError: oops" in caplog.text


def test_a_removed_plugin_leaves_nothing():
    registry, plugin = Registry(), Good()
    registry.add(source(plugin))
    registry.remove("dist:main")
    assert registry.records == registry.entries("adapter") == ()
    registry.add(source(plugin))
    assert names(registry) == ["dist:gate"]


def test_no_hook_of_a_rolled_back_plugin_is_called_later():
    class Half(Resolver, Raises):
        pass

    registry, plugin = Registry(), Half("an answer from a failed plug-in")
    registry.add(source(plugin))
    assert registry.records[0].state == "failed"
    assert registry.first_result("resolve_codec_profile", model="codec") is None
