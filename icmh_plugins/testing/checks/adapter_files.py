"""Checks of copies: files, pickles, deepcopies, and another process."""

from __future__ import annotations

import copy
import json
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import nn

from icmh_plugins.adapters.file import CONFIG, read_folder
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.adapters.store import adapter_digest, load_adapter, save_adapter
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.errors import in_words
from icmh_plugins.testing.checks.adapter_case import NAME, AdapterCase, move, picture
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError, demand
from icmh_plugins.testing.checks.coding import reconstruction
from icmh_plugins.testing.checks.fresh import fresh_process
from icmh_plugins.testing.checks.session import origin_of


def survives_files(case: AdapterCase) -> None:
    """Saved and loaded onto a new codec, it does the same."""
    model, other = case.attached(), case.codec()
    with _saved(model, case) as folder:
        load_adapter(other, folder)
    demand(
        adapter_digest(other, NAME) == adapter_digest(model, NAME),
        "the adapter loaded from its folder has other tensors or options. Remedy: keep all that is trained in "
        "parameters or buffers, all that is chosen in Config",
    )
    difference = (reconstruction(other) - reconstruction(model)).abs().max()
    demand(
        float(difference) == 0,
        f"loaded from its folder, the adapter gives another picture, by up to {difference:.3g}. Remedy: keep all that "
        "forward uses in parameters, buffers or Config; nothing random, nothing in plain attributes",
    )


def file_is_complete(case: AdapterCase) -> None:
    """Keys are those of the declared sites, and every parameter is there."""
    model = case.attached()
    modules = adapter_modules(model, NAME)
    with _saved(model, case) as folder:
        info, tensors = read_folder(folder)
        sites = [site["path"] for site in json.loads((folder / CONFIG).read_text())["sites"]]
    demand(
        sites == [site.path for site in case.sites()] and info.config == _config(case),
        "the folder names other sites or options than the adapter has",
    )
    expected = {f"{site}.{name}" for site, module in modules.items() for name, _ in module.named_parameters()}
    missing = sorted(expected - tensors.keys())
    strange = sorted(key for key in tensors if not any(key.startswith(f"{site}.") for site in modules))
    demand(
        not missing and not strange,
        f"the file lacks {', '.join(missing[:3]) or 'nothing'} and has {', '.join(strange[:3]) or 'nothing'} beside "
        "its sites. Remedy: leave state_dict and its hooks alone",
    )


def copies_are_independent(case: AdapterCase) -> None:
    """A deepcopy does the same, and goes its own way afterwards."""
    model = case.attached()
    before = reconstruction(model)
    twin = copy.deepcopy(model)
    demand(torch.equal(reconstruction(twin), before), "a deepcopy of the codec gives another picture")
    move(twin, seed=1)
    demand(
        torch.equal(reconstruction(model), before),
        "training a deepcopy changes the original. Remedy: no tensors in class attributes or closures, no __deepcopy__",
    )
    moved = not torch.equal(reconstruction(twin), before)
    demand(moved, "training a deepcopy does not change it. Remedy: keep no reference to the original's tensors")


def survives_pickle(case: AdapterCase) -> None:
    """Pickled, as worker processes need it, it does the same."""
    try:
        pickle.dumps(case.codec())
    except Exception as error:
        raise NotApplicableError(f"the codec itself cannot be pickled: {in_words(error)}") from error
    model = case.attached()
    try:
        twin = pickle.loads(pickle.dumps(model))
    except Exception as error:
        raise UnmetError(
            f"it cannot be pickled: {in_words(error)}. Remedy: no lambdas, local functions, locks or open files in "
            "attributes; classes at the top level of their module"
        ) from error
    demand(
        torch.equal(reconstruction(twin), reconstruction(model)),
        "unpickled, it gives another picture. Remedy: keep all that forward uses in parameters, buffers or attributes",
    )


def works_elsewhere(case: AdapterCase) -> None:
    """Another process reads the streams of this one, and writes the same ones."""
    model = case.attached()
    stream = encode(model, picture())
    with _saved(model, case) as folder:
        origin = origin_of(case.adapter)
        if origin is not None and not origin.file:
            raise NotApplicableError("its class is in no file that another process could read")
        answer = fresh_process().recode(case.codec_name, folder, stream, origin)
    demand(
        answer.pixels == decode(model, stream).tolist(),
        "another process decodes other pixels from the same stream. Remedy: nothing in forward may depend on the "
        "process (hashes of strings, order of sets, ids, global random state)",
    )
    demand(
        answer.stream == stream,
        "another process codes the same picture to other bytes. Remedy: as for decoding",
    )


@contextmanager
def _saved(model: nn.Module, case: AdapterCase) -> Iterator[Path]:
    if not isinstance(case.adapter, str):
        raise NotApplicableError("no file could name its class: define it at the top level of a module")
    with tempfile.TemporaryDirectory() as scratch:
        yield save_adapter(model, Path(scratch) / NAME)


def _config(case: AdapterCase) -> dict[str, object]:
    return case.cls.make_config(dict(case.config)).model_dump(mode="json")


CHECKS: Final = (
    Check("adapter-save-load", "Saved and loaded onto a new codec, it gives the same picture", survives_files),
    Check("adapter-file-keys", "The file's keys are those of its sites, and no parameter is missing", file_is_complete),
    Check("adapter-deepcopy", "A deepcopy gives the same picture, and is trained apart", copies_are_independent),
    Check("adapter-pickle", "Pickled and unpickled, it gives the same picture", survives_pickle),
    Check("adapter-fresh-process", "A fresh process decodes the same pixels and codes the same bytes", works_elsewhere),
)
