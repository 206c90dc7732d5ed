"""Against the real BasicSR, where it is installed."""

from __future__ import annotations

import importlib.util
import logging
import pickle
import subprocess
import sys
import types

import pytest
import torch

from icmh_plugins.cli.datasection import DataSection
from icmh_plugins.data.images import read_image, write_image
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks import basicsr
from icmh_plugins.tasks.restoration import Restoration, RestorationConfig
from icmh_plugins.tasks.restoration_pairs import BasicSRPairs
from icmh_plugins.tasks.similarity import ssim

pytestmark = pytest.mark.skipif(importlib.util.find_spec("basicsr") is None, reason="basicsr is not installed")

SWINIR = {"window_size": 4, "img_size": 16, "embed_dim": 8, "depths": [2], "num_heads": [2], "mlp_ratio": 2}


def task(**options) -> Restoration:
    torch.manual_seed(0)
    return Restoration(RestorationConfig(**options))


def picture(height: int = 24, width: int = 24, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_importing_leaves_no_trace():
    code = """
import logging, sys, warnings
import torchvision
import icmh_plugins.tasks.restoration as r
warnings.simplefilter("error", DeprecationWarning)
assert "basicsr" not in sys.modules
r.Restoration(r.RestorationConfig(losses=["basicsr:L1Loss", "basicsr:CharbonnierLoss"], metrics=("basicsr:niqe",)))
assert "basicsr" in sys.modules
assert "torchvision.transforms.functional_tensor" not in sys.modules
assert not logging.root.handlers and not logging.getLogger("basicsr").handlers
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_the_removed_module_is_there_only_while_it_is_missed(monkeypatch):
    moved = "torchvision.transforms.functional_tensor"
    monkeypatch.delitem(sys.modules, "basicsr", raising=False)
    for _ in range(2):
        with basicsr._removed_module_filled_in():
            assert sys.modules[moved].rgb_to_grayscale(torch.rand(3, 4, 4)).shape == (1, 4, 4)
        assert moved not in sys.modules
    own = types.ModuleType(moved)
    monkeypatch.setitem(sys.modules, moved, own)
    with basicsr._removed_module_filled_in():
        assert sys.modules[moved] is own
    assert sys.modules[moved] is own


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("L1Loss", {}, lambda a, b: (a - b).abs().mean()),
        ("MSELoss", {"loss_weight": 3.0}, lambda a, b: 3 * (a - b).square().mean()),
        ("CharbonnierLoss", {"eps": 0.01}, lambda a, b: torch.sqrt((a - b).square() + 0.01).mean()),
        ("WeightedTVLoss", {}, lambda a, b: a.diff(dim=-1).abs().mean() + a.diff(dim=-2).abs().mean()),
    ],
)
def test_losses_by_name(name, options, expected):
    key = f"basicsr:{name}"
    restoring = task(losses={key: 2.0}, loss_options={key: options})
    a, b = picture(seed=1).requires_grad_(), picture(seed=2)
    loss = restoring.distortion(a, {"clean": b})
    loss.total.backward()
    assert loss.total.item() == pytest.approx(2 * expected(a, b).item(), rel=1e-5)
    assert a.grad.abs().sum() > 0


@pytest.mark.parametrize(("style", "parts"), [(0.0, 1), (1.0, 2)])
def test_the_tuple_of_the_perceptual_loss_becomes_a_sum(monkeypatch, style, parts):
    import torchvision.models.vgg as vgg

    basicsr.create_loss("L1Loss", {})
    monkeypatch.setattr(basicsr, "_check_weights", lambda name: None)
    plain = vgg.vgg11
    monkeypatch.setattr(vgg, "vgg11", lambda pretrained: plain(weights=None))
    options = {"layer_weights": {"conv1_1": 1.0}, "vgg_type": "vgg11", "style_weight": style}
    loss = basicsr.create_loss("PerceptualLoss", options)
    a, b = picture(32, 32, 1), picture(32, 32, 2)
    values = [value for value in loss.loss(a, b) if value is not None]
    assert len(values) == parts
    assert loss(a, b).item() == pytest.approx(sum(values).item())


def test_the_perceptual_loss_never_downloads(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(DataError, match=r"nothing is downloaded here: put vgg19-dcbb9e9d.pth at"):
        basicsr.create_loss("PerceptualLoss", {"layer_weights": {"conv5_4": 1.0}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: basicsr.create_loss("L1Los", {}), "Did you mean 'L1Loss'"),
        (lambda: basicsr.create_loss("GANLoss", {}), "does not compare two pictures"),
        (lambda: basicsr.create_loss("L1Loss", {"weight": 1}), "L1Loss.*unexpected keyword"),
        (lambda: basicsr.create_loss("L1Loss", {"reduction": "none"}), "gives no single value"),
        (lambda: basicsr.create_loss("L1Loss", {"reduction": "nonee"}), "L1Loss cannot be built of.*Unsupported"),
        (lambda: basicsr.create_loss("PerceptualLoss", {"layer_weights": {}, "vgg_type": "vg19"}), "mean 'vgg19'"),
        (lambda: basicsr.create_network("SwinIR", {"depths": 3}), "SwinIR cannot be built of"),
        (lambda: basicsr.create_network("SwinIr", {}), "Did you mean 'SwinIR'"),
        (lambda: basicsr.create_network("RIDNet", {}), "missing a required argument"),
        (lambda: basicsr.create_dataset("PairedImageDataset", {}), "needs the option"),
    ],
)
def test_mistakes_are_named(capsys, make, message):
    with pytest.raises(ConfigError, match=message):
        make()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "options", "multiple"),
    [
        ("SwinIR", SWINIR, 4),
        ("RRDBNet", {"num_in_ch": 3, "num_out_ch": 3, "scale": 1, "num_feat": 8, "num_block": 1, "num_grow_ch": 4}, 4),
        ("RIDNet", {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1}, 1),
        ("SRVGGNetCompact", {"upscale": 1, "num_feat": 8, "num_conv": 1}, 1),
        ("ECBSR", {"num_in_ch": 3, "num_out_ch": 3, "num_block": 1, "num_channel": 8, "with_idt": False,
                   "act_type": "prelu", "scale": 1}, 1),
    ],
)  # fmt: skip
def test_same_size_networks_take_any_size(name, options, multiple):
    restoring = task(network=f"basicsr:{name}", network_options=options)
    assert restoring.network.multiple == multiple
    x_hat = picture(21, 18).requires_grad_()
    restoring.distortion(x_hat, {"clean": picture(21, 18)}).total.backward()
    assert restoring.predict(x_hat).shape == (1, 3, 21, 18)
    assert x_hat.grad.abs().sum() > 0


def test_ranges_of_255_are_not_assumed():
    options = {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1}
    network, _ = basicsr.create_network("RIDNet", options)
    assert network.sub_mean.bias.abs().max() < 1


def test_upscaling_networks_are_refused():
    options = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 1, "upscale": 2}
    with pytest.raises(ConfigError, match="options for scale 1"):
        task(network="basicsr:MSRResNet", network_options=options).predict(picture())


def test_ssim_equals_that_of_basicsr():
    basicsr.create_loss("L1Loss", {})
    from basicsr.metrics.psnr_ssim import calculate_ssim_pt

    a, b = picture(40, 48, 1), (picture(40, 48, 1) + 0.3 * picture(40, 48, 2)).clamp(0, 1)
    assert ssim(a, b).item() == pytest.approx(calculate_ssim_pt(a, b, crop_border=0).item(), abs=1e-4)


@pytest.mark.data
def test_niqe_takes_rgb_and_is_that_of_basicsr(measuring_data):
    with basicsr._removed_module_filled_in():
        from basicsr.metrics import calculate_niqe

    image = read_image(measuring_data / "kodak" / "kodim05.png")[None, :, :288, :288]
    bgr = image[0].mul(255).round().byte().permute(1, 2, 0).numpy()[:, :, ::-1]
    metric = task(metrics=("basicsr:niqe",)).metrics()
    metric.update(image, {"clean": image})
    assert metric.compute() == {"niqe": pytest.approx(calculate_niqe(bgr, 0))}


def test_psnr_and_ssim_are_those_of_basicsr():
    restored, clean = picture(40, 48, 1), (picture(40, 48, 1) + 0.3 * picture(40, 48, 2)).clamp(0, 1)
    found = {}
    for names in (["psnr", "ssim"], ["basicsr:psnr", "basicsr:ssim"]):
        metric = task(metrics=names).metrics()
        metric.update(restored, {"clean": clean})
        found[names[0]] = metric.compute()
    assert found["basicsr:psnr"] == pytest.approx(found["psnr"], abs=2e-4)
    tiny = task(metrics="basicsr:ssim").metrics()
    tiny.update(picture(8, 8), {"clean": picture(8, 8)})
    assert tiny.scores()["ssim"].tolist() == pytest.approx([float("nan")], nan_ok=True)


@pytest.mark.parametrize("image", [picture(96, 96), torch.full((1, 3, 192, 192), 0.5)], ids=["small", "flat"])
def test_niqe_is_undefined_without_blocks_or_texture(image, caplog):
    restoring = task(metrics=("basicsr:niqe",))
    assert restoring.higher_is_better == {"niqe": False}
    metric = restoring.metrics()
    with caplog.at_level(logging.WARNING):
        metric.update(image, {"clean": image})
    assert metric.scores()["niqe"].tolist() == pytest.approx([float("nan")], nan_ok=True)


@pytest.fixture
def pairs(tmp_path):
    for folder, factor in (("lq", 0.5), ("gt", 1.0)):
        (tmp_path / folder).mkdir()
        for index in range(3):
            write_image(tmp_path / folder / f"{index}.png", picture(20, 26, index) * factor)
    return tmp_path


def test_paired_datasets_give_our_samples(pairs):
    data = BasicSRPairs(pairs / "lq", pairs / "gt")
    assert len(data) == 3
    sample = data[1]
    assert sample["name"] == "1.png"
    assert torch.allclose(sample["clean"], read_image(pairs / "gt" / "1.png"))
    assert torch.allclose(sample["image"], read_image(pairs / "lq" / "1.png"))
    assert torch.equal(pickle.loads(pickle.dumps(data))[1]["clean"], sample["clean"])
    crop = BasicSRPairs(pairs / "lq", pairs / "gt", gt_size=8, use_hflip=True, use_rot=True)[0]
    assert torch.allclose(crop["image"], crop["clean"] / 2, atol=1 / 255)
    assert crop["image"].shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gt_sise": 8}, "no option 'gt_sise'. Did you mean 'gt_size'"),
        ({"scale": 2}, "scale: Input should be 1"),
        ({"use_rot": True}, "give gt_size"),
        ({"gt_size": 0}, "greater than or equal to 1"),
    ],
)
def test_options_of_pairs_are_checked(pairs, options, message):
    with pytest.raises(ConfigError, match=message):
        BasicSRPairs(pairs / "lq", pairs / "gt", **options)


def test_crops_larger_than_a_picture_are_refused_at_the_start(pairs):
    with pytest.raises(DataError, match=r"3 pictures are smaller than gt_size=21: 0\.png"):
        BasicSRPairs(pairs / "lq", pairs / "gt", gt_size=21)


def test_a_run_file_names_the_dataset(pairs):
    section = DataSection(source=str(pairs / "lq"), clean=str(pairs / "gt"), basicsr={"gt_size": 8})
    assert isinstance(section.open(), BasicSRPairs)
    assert section.open()[0]["clean"].shape == (3, 8, 8)
    with pytest.raises(ValueError, match="give the second as 'clean'"):
        DataSection(source=str(pairs / "lq"), basicsr={})


def test_bad_pairs_are_named(pairs):
    write_image(pairs / "lq" / "2.png", picture(20, 25)[0])
    with pytest.raises(DataError, match=r"'2\.png' is 25x20 degraded and 26x20 clean"):
        BasicSRPairs(pairs / "lq", pairs / "gt")
    (pairs / "lq" / "2.png").unlink()
    with pytest.raises(DataError, match="cannot use these folders"):
        BasicSRPairs(pairs / "lq", pairs / "gt")
