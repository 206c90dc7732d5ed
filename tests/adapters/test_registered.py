"""Adapters that plug-ins register."""

import pytest

from icmh_plugins import AdapterSpec, hookimpl
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.host import host_of
from icmh_plugins.errors import PluginError
from icmh_plugins.registry.catalog import register_plugin, reload
from icmh_plugins.testing.toys import TOYS


class Wrong:
    @staticmethod
    @hookimpl
    def register_adapters():
        return [AdapterSpec("wrong", f"{__name__}:NOT_AN_ADAPTER", "For tests")]


NOT_AN_ADAPTER = dict


@pytest.fixture
def wrong():
    register_plugin(Wrong, "wrong")
    yield
    reload()


def test_what_is_registered_as_an_adapter_and_is_none_is_named(wrong):
    codec = next(iter(TOYS.values()))()
    with pytest.raises(PluginError, match=r"'session:wrong' is registered as <class 'dict'>, .* subclass of Adapter"):
        attach_adapter(codec, "wrong")
    assert host_of(codec) is None
