import copy

import pytest
import torch
from torch import nn

from icmh_plugins.codecs.fingerprint import base_fingerprint, tables_fingerprint
from icmh_plugins.codecs.sites import SLOT
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


@pytest.mark.parametrize("name", CODECS)
def test_using_copying_and_updating_change_nothing(name):
    model = CODECS[name]()
    base, tables = base_fingerprint(model), tables_fingerprint(model)
    assert len(base) == len(tables) == 64
    with torch.no_grad():
        model(torch.rand(1, 3, 64, 64))
        model.compress(torch.rand(1, 3, 64, 64))
    model.update(force=True)
    assert base_fingerprint(model, recompute=True) == base
    assert tables_fingerprint(model, recompute=True) == tables
    assert base_fingerprint(copy.deepcopy(model)) == base


@pytest.mark.parametrize("name", ["mbt2018", "cheng2020-anchor"])
def test_a_masked_weight_counts_as_it_will_be_used(name):
    model = COMPRESSAI_MODELS[name]()
    masked = model.context_prediction
    fresh = base_fingerprint(model)
    raw = masked.weight.data.clone()
    masked.weight.data = raw + (1 - masked.mask)  # as before the first forward of an untrained model
    assert base_fingerprint(model, recompute=True) == fresh
    masked.weight.data = raw + masked.mask
    assert base_fingerprint(model, recompute=True) != fresh


def test_every_kind_of_change_is_seen():
    model = TOYS["slice"]()
    prints = [base_fingerprint(model)]
    with torch.no_grad():
        model.g_s[6].bias[0] += 1e-6
    prints.append(base_fingerprint(model))
    model.entropy_bottleneck.quantiles = nn.Parameter(model.entropy_bottleneck.quantiles + 1)
    prints.append(base_fingerprint(model))
    model.register_buffer("extra", torch.zeros(()))
    prints.append(base_fingerprint(model))
    prints.append(base_fingerprint(model.double()))
    assert len(set(prints)) == len(prints)


def test_tables_and_base_are_told_apart():
    model = TOYS["slice"]()
    base, tables = base_fingerprint(model), tables_fingerprint(model)
    model.gaussian_conditional.scale_table[3] += 1e-6
    assert base_fingerprint(model) == base
    assert tables_fingerprint(model) != tables


def test_adapters_do_not_count():
    model = TOYS["slice"]()
    base = base_fingerprint(model)
    model.g_a[1].add_module(SLOT, nn.Conv2d(12, 12, 1))
    assert base_fingerprint(model, recompute=True) == base


def test_recompute_sees_what_bypasses_torch():
    model = TOYS["slice"]()
    base = base_fingerprint(model)
    model.g_s[6].bias.data[0] += 1
    assert base_fingerprint(model, recompute=True) != base
