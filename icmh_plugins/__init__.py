"""Adapters and tasks that make any CompressAI-compatible image codec code for machines.

Importing this package loads no torch: each public name is imported when it is first used.

    import icmh_plugins as icmh

    icmh.attach_adapter(codec, "sfma")      # in place; nothing changes until it is trained
    stream = icmh.encode(codec, image)      # bytes
    views = icmh.decode(codec, stream, views=["human", "sfma"])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from icmh_plugins._version import __version__

_WHERE = {
    "Adapter": "adapters.base",
    "AdapterConfig": "adapters.base",
    "attach_adapter": "adapters.attach",
    "detach_adapter": "adapters.attach",
    "set_adapter": "adapters.activate",
    "disable_adapters": "adapters.activate",
    "use_adapter": "adapters.activate",
    "adapter_parameters": "adapters.activate",
    "describe": "adapters.describe",
    "save_adapter": "adapters.store",
    "load_adapter": "adapters.store",
    "annotate": "adapters.annotate",
    "push_to_hub": "adapters.hub",
    "verify_identity": "adapters.identity",
    "bake": "adapters.bake",
    "export": "adapters.export",
    "CodecProfile": "codecs.sites",
    "Site": "codecs.sites",
    "probe": "codecs.probe",
    "load_codec": "codecs.loading",
    "Task": "tasks.base",
    "TaskConfig": "tasks.base",
    "TaskLoss": "tasks.base",
    "create_task": "tasks.create",
    "read_image": "data.images",
    "write_image": "data.images",
    "encode": "bitstream.coding",
    "decode": "bitstream.coding",
    "inspect": "bitstream.inspection",
    "fit": "training.fit",
    "evaluate": "evaluation.evaluate",
    "hookimpl": "registry.hookspecs",
    "list_plugins": "registry.catalog",
    "register_plugin": "registry.catalog",
    "register_adapter": "registry.decorators",
    "register_task": "registry.decorators",
    "register_codec_profile": "registry.decorators",
    "load_plugin_file": "registry.files",
    "AdapterSpec": "registry.specs",
    "TaskSpec": "registry.specs",
    "CodecProfileSpec": "registry.specs",
    "CommandSpec": "registry.specs",
    "PluginInfo": "registry.specs",
    "IcmhError": "errors",
}

__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from icmh_plugins.adapters.activate import adapter_parameters as adapter_parameters
    from icmh_plugins.adapters.activate import disable_adapters as disable_adapters
    from icmh_plugins.adapters.activate import set_adapter as set_adapter
    from icmh_plugins.adapters.activate import use_adapter as use_adapter
    from icmh_plugins.adapters.annotate import annotate as annotate
    from icmh_plugins.adapters.attach import attach_adapter as attach_adapter
    from icmh_plugins.adapters.attach import detach_adapter as detach_adapter
    from icmh_plugins.adapters.bake import bake as bake
    from icmh_plugins.adapters.base import Adapter as Adapter
    from icmh_plugins.adapters.base import AdapterConfig as AdapterConfig
    from icmh_plugins.adapters.describe import describe as describe
    from icmh_plugins.adapters.export import export as export
    from icmh_plugins.adapters.hub import push_to_hub as push_to_hub
    from icmh_plugins.adapters.identity import verify_identity as verify_identity
    from icmh_plugins.adapters.store import load_adapter as load_adapter
    from icmh_plugins.adapters.store import save_adapter as save_adapter
    from icmh_plugins.bitstream.coding import decode as decode
    from icmh_plugins.bitstream.coding import encode as encode
    from icmh_plugins.bitstream.inspection import inspect as inspect
    from icmh_plugins.codecs.loading import load_codec as load_codec
    from icmh_plugins.codecs.probe import probe as probe
    from icmh_plugins.codecs.sites import CodecProfile as CodecProfile
    from icmh_plugins.codecs.sites import Site as Site
    from icmh_plugins.data.images import read_image as read_image
    from icmh_plugins.data.images import write_image as write_image
    from icmh_plugins.errors import IcmhError as IcmhError
    from icmh_plugins.evaluation.evaluate import evaluate as evaluate
    from icmh_plugins.registry.catalog import list_plugins as list_plugins
    from icmh_plugins.registry.catalog import register_plugin as register_plugin
    from icmh_plugins.registry.decorators import register_adapter as register_adapter
    from icmh_plugins.registry.decorators import register_codec_profile as register_codec_profile
    from icmh_plugins.registry.decorators import register_task as register_task
    from icmh_plugins.registry.files import load_plugin_file as load_plugin_file
    from icmh_plugins.registry.hookspecs import hookimpl as hookimpl
    from icmh_plugins.registry.specs import AdapterSpec as AdapterSpec
    from icmh_plugins.registry.specs import CodecProfileSpec as CodecProfileSpec
    from icmh_plugins.registry.specs import CommandSpec as CommandSpec
    from icmh_plugins.registry.specs import PluginInfo as PluginInfo
    from icmh_plugins.registry.specs import TaskSpec as TaskSpec
    from icmh_plugins.tasks.base import Task as Task
    from icmh_plugins.tasks.base import TaskConfig as TaskConfig
    from icmh_plugins.tasks.base import TaskLoss as TaskLoss
    from icmh_plugins.tasks.create import create_task as create_task
    from icmh_plugins.training.fit import fit as fit
