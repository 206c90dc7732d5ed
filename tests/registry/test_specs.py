"""Specs refuse what could not work, with the remedy."""

from __future__ import annotations

import pytest

from icmh_plugins import AdapterSpec, CodecProfileSpec, CommandSpec, PluginInfo, TaskSpec
from icmh_plugins.errors import PluginError


@pytest.mark.parametrize("name", ["sfma", "ll-icm", "adapt_icmh.v2", "7"])
@pytest.mark.parametrize("target", ["module:name", "a.b.c:Class", "a:Class.method"])
def test_usable_names_and_targets(name, target):
    assert CommandSpec(name, target, "Fine").name == name


@pytest.mark.parametrize("name", ["", "SFMA", "two words", "a:b", "-a", "a--b", "a-", "ä", "a\n"])
def test_unusable_names(name):
    with pytest.raises(PluginError, match="is not usable"):
        AdapterSpec(name, "module:Class", "Bad")


@pytest.mark.parametrize(
    "target", ["", "module", "module:", ":Class", "module.Class", "mod-ule:Class", "a:b:c", "a.:b"]
)
def test_unusable_targets(target):
    with pytest.raises(PluginError, match=r"write it as 'package.module:attribute'"):
        TaskSpec("fine", target, "Bad")


@pytest.mark.parametrize(
    "make",
    [
        lambda: AdapterSpec("fine", AdapterSpec, "A class instead of a string"),
        lambda: AdapterSpec("fine", "module:Class", None),
        lambda: TaskSpec("fine", "module:Class", "Text", requires="timm"),
        lambda: CodecProfileSpec("fine", "module:PROFILE", "Text", class_names=["TIC"]),
        lambda: CodecProfileSpec("fine", "module:PROFILE", "Text", class_names=(int,)),
    ],
)
def test_wrong_types(make):
    with pytest.raises(PluginError, match="must be a"):
        make()


def test_specs_are_frozen():
    with pytest.raises(AttributeError):
        TaskSpec("fine", "module:Class", "Text").name = "other"


@pytest.mark.parametrize("hook_api", [0, -1, "1", 1.5, True, None])
def test_hook_api_is_a_positive_integer(hook_api):
    with pytest.raises(PluginError, match="hook_api must be a positive integer"):
        PluginInfo(hook_api=hook_api)
