import json
from typing import ClassVar

import numpy as np
import pytest
import torch

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.container import unpack
from icmh_plugins.data.images import write_image
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.evaluation.bootstrap import paired_difference
from icmh_plugins.evaluation.complexity import latency
from icmh_plugins.evaluation.curves import RateCurve
from icmh_plugins.evaluation.evaluate import evaluate
from icmh_plugins.tasks.base import Task


class Unlabelled:
    def __init__(self, pictures):
        self.pictures = pictures

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        sample = dict(self.pictures[index])
        del sample["target"]
        return sample


class CountingTask(Task):
    """A task whose only metric exists over all images, like mean average precision."""

    higher_is_better: ClassVar = {"count": True}

    def predict(self, x_hat):
        return len(x_hat)

    def metrics(self):
        return _Count()


class _Count:
    def __init__(self):
        self.total = 0

    def update(self, prediction, batch):
        self.total += prediction

    def compute(self, indices=None):
        return {"count": float(self.total)}

    def scores(self):
        return {}

    def reset(self):
        self.total = 0


def test_rates_are_those_of_the_files(adapted, classifier, pictures, tmp_path):
    result = evaluate(adapted, classifier, pictures, save_streams=tmp_path / "streams", progress=False)
    files = sorted((tmp_path / "streams").iterdir())
    assert [file.name for file in files] == ["00000-p0.icmh", "00001-p1.icmh", "00002-p2.icmh"]
    pixels = np.array([h * w for h, w in pictures.sizes])
    sizes = np.array([file.stat().st_size for file in files])
    strings = np.array([sum(map(len, unpack(file.read_bytes()).images[0])) for file in files])
    assert result.per_image["bpp-with-header"] == pytest.approx(8 * sizes / pixels)
    assert result.per_image["bpp"] == pytest.approx(8 * strings / pixels)
    assert result.values["bpp"] == pytest.approx(np.mean(8 * strings / pixels))
    assert result.values["bpp"] < result.values["bpp-with-header"]


def test_scores_are_those_of_the_decoded_pictures(adapted, classifier, pictures):
    result = evaluate(adapted, classifier, pictures, views=["human"], progress=False)
    for index in range(len(pictures)):
        sample = pictures[index]
        image = sample["image"][None]
        shown = (
            decode(adapted, encode(adapted, image)),
            decode(adapted, encode(adapted, image), views=["human"])["human"],
        )
        for view, picture in zip(("", "@human"), shown, strict=True):
            error = (255 * picture.clamp(0, 1)).round() - (255 * image).round()
            assert result.per_image[f"psnr-rgb{view}"][index] == pytest.approx(
                float(10 * torch.log10(255**2 / error.square().mean())), abs=1e-4
            )
            best = int(classifier.predict(picture.clamp(0, 1)).argmax())
            assert result.per_image[f"top1{view}"][index] == (best == sample["target"])
    assert not np.array_equal(result.per_image["psnr-rgb"], result.per_image["psnr-rgb@human"])


def test_small_images_have_no_ms_ssim(codec, pictures):
    result = evaluate(codec, None, pictures, progress=False)
    assert "ms-ssim-rgb" not in result.values
    assert set(result.values) == {"bpp", "bpp-with-header", "psnr-rgb", "encoding_time", "decoding_time"}


def test_base_and_adapted_are_paired(adapted, classifier, pictures):
    result = evaluate(adapted, classifier, pictures, progress=False)
    with use_adapter(adapted, None):
        base = evaluate(adapted, classifier, pictures, progress=False)
    assert base.curve.name == "MeanScaleHyperprior"
    assert result.curve.name == "MeanScaleHyperprior + sfma"
    assert base.point.facts["adapters"] == []
    assert result.point.facts["adapters"][0]["adapter"] == "icmh-plugins:sfma"
    difference = paired_difference(base.per_image["bpp"], result.per_image["bpp"], resamples=10)
    assert difference.value == pytest.approx(result.values["bpp"] - base.values["bpp"])


def test_result_survives_its_file(adapted, classifier, pictures, tmp_path):
    result = evaluate(adapted, classifier, pictures, label="q2", progress=False)
    result.save(tmp_path / "r.json")
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["results"]["bpp"] == [result.values["bpp"]]
    assert data["labels"] == ["q2"]
    assert data["images"] == ["p0.png", "p1.png", "p2.png"]
    point = RateCurve.load(tmp_path / "r.json").points[0]
    assert point.facts["complexity"]["adapter_parameters"] > 0
    assert point.per_image["top1"].tolist() == result.per_image["top1"].tolist()


def test_a_stopped_run_goes_on(adapted, classifier, pictures, tmp_path):
    whole = evaluate(adapted, classifier, pictures, progress=False)
    log = tmp_path / "log.jsonl"
    stopped = Stopping(pictures, after=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate(adapted, classifier, stopped, resume=log, progress=False)
    log.write_text(log.read_text() + '{"name": "p2')  # a line cut while it was written
    resumed = evaluate(adapted, classifier, Stopping(pictures, after=3, start=2), resume=log, progress=False)
    for name in ("bpp", "psnr-rgb", "top1"):
        assert resumed.per_image[name].tolist() == whole.per_image[name].tolist()
    assert len(log.read_text().splitlines()) == 1 + len(pictures)


class Stopping:
    """Pictures that may be read from `start` (and the first, for its labels) to `after`; then the user stops."""

    fingerprint = "three pictures"  # else their names would be read to compare them

    def __init__(self, pictures, after, start=0):
        self.pictures, self.after, self.start = pictures, after, start

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        if index >= self.after:
            raise KeyboardInterrupt
        assert index == 0 or index >= self.start
        return self.pictures[index]


class Ordered:
    """Some of the pictures, without a fingerprint."""

    def __init__(self, pictures, order):
        self.pictures, self.order = pictures, order

    def __len__(self):
        return len(self.order)

    def __getitem__(self, index):
        return self.pictures[self.order[index]]


def test_resume_refuses_other_pictures_and_other_metrics(codec, classifier, pictures, tmp_path):
    log = tmp_path / "log.jsonl"
    options = {"resume": log, "progress": False}
    evaluate(codec, classifier, Ordered(pictures, [0, 2, 1]), **options)
    evaluate(codec, classifier, Ordered(pictures, [0, 2, 1]), **options)
    with pytest.raises(DataError, match=r"'p2.png' as image 1, the data has 'p1.png'.*the same order"):
        evaluate(codec, classifier, Ordered(pictures, [0, 1, 2]), **options)
    with pytest.raises(DataError, match="metrics differ"):
        evaluate(codec, classifier, Ordered(pictures, [0, 2, 1]), metrics=["top1"], **options)


def test_resume_refuses_other_labels(codec, classifier, pictures, tmp_path):
    log, table = tmp_path / "log.jsonl", tmp_path / "labels.csv"
    for index in (0, 1):
        write_image(tmp_path / f"{index}.png", pictures[index]["image"])
    table.write_text("file,label\n0.png,1\n1.png,2\n")
    evaluate(codec, classifier, table, resume=log, progress=False)
    table.write_text("file,label\n0.png,1\n1.png,3\n")
    with pytest.raises(DataError, match="data differ"):
        evaluate(codec, classifier, table, resume=log, progress=False)


def test_resume_refuses_another_codec(adapted, classifier, pictures, tmp_path):
    log = tmp_path / "log.jsonl"
    evaluate(adapted, classifier, pictures, resume=log, limit=1, progress=False)
    next(iter(adapter_modules(adapted, "sfma").values())).s_up.bias.data.add_(1)
    with pytest.raises(DataError, match="adapters differ"):
        evaluate(adapted, classifier, pictures, resume=log, limit=1, progress=False)


def test_labels_are_missed_before_anything_is_coded(codec, classifier, pictures):
    codec.compress = None
    with pytest.raises(DataError, match=r"top1, top5 need labels.*p0\.png"):
        evaluate(codec, classifier, Unlabelled(pictures), progress=False)


def test_metrics_without_labels(codec, classifier, pictures):
    result = evaluate(codec, classifier, Unlabelled(pictures), metrics=["agreement"], limit=1, progress=False)
    assert "agreement" in result.values
    assert "top1" not in result.values
    with pytest.raises(ConfigError, match="Did you mean 'agreement'"):
        evaluate(codec, classifier, pictures, metrics=["agrement"], progress=False)


def test_several_tasks_share_the_decoding(codec, classifier, pictures):
    result = evaluate(codec, {"a": classifier, "b": "human"}, pictures, limit=2, progress=False)
    assert {"a/top1", "b/psnr-rgb", "psnr-rgb"} <= result.values.keys()
    assert result.values["b/psnr-rgb"] == result.values["psnr-rgb"]


def test_metrics_over_all_images(codec, pictures, tmp_path):
    log = tmp_path / "log.jsonl"
    result = evaluate(codec, CountingTask(), pictures, resume=log, limit=2, progress=False)
    assert result.values["count"] == 2
    assert "count" not in result.per_image
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="count need all images in one run"):
        evaluate(codec, CountingTask(), pictures, resume=log, limit=2, progress=False)


def test_unknown_protocol(codec, pictures):
    with pytest.raises(ConfigError, match="Did you mean 'native'"):
        evaluate(codec, None, pictures, protocol="nativ", progress=False)


def test_complexity_counts_adapters_apart(adapted, pictures):
    costs = evaluate(adapted, None, pictures, limit=1, progress=False).point.facts["complexity"]
    modules = adapter_modules(adapted, "sfma").values()
    assert costs["adapter_parameters"] == sum(p.numel() for m in modules for p in m.parameters())
    assert costs["adapter_bytes"] == 4 * costs["adapter_parameters"]
    assert costs["adapter_encoder_kmac_per_pixel"] > 0
    assert costs["adapter_decoder_kmac_per_pixel"] > 0
    with use_adapter(adapted, None):
        base = evaluate(adapted, None, pictures, limit=1, progress=False).point.facts["complexity"]
    assert base["encoder_kmac_per_pixel"] == costs["encoder_kmac_per_pixel"]
    assert base["adapter_encoder_kmac_per_pixel"] == 0


def test_latency_leaves_the_codec_as_it_is(codec, pictures):
    image = pictures[0]["image"]
    before = encode(codec, image)
    encoding, decoding = latency(codec, image, repeats=2)
    assert min(encoding, decoding) > 0
    assert encode(codec, image) == before


def test_how_the_codec_codes_is_found_out_before_the_first_image_is_read(codec, pictures):
    events, compress = [], codec.compress
    codec.compress = lambda image: events.append(tuple(image.shape[-2:])) or compress(image)

    class Watched(Ordered):
        def __getitem__(self, index):
            events.append("read")
            return super().__getitem__(index)

    evaluate(codec, None, Watched(pictures, [0]), progress=False)
    last = len(events) - events[::-1].index("read")
    assert (64, 64) in events[:last]  # a grey image of the smallest size
    assert events[last:].count((64, 64)) == 1  # and of that size, only the picture itself after it was read


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(codec, pictures, limit):
    with pytest.raises(ConfigError, match=f"limit must be 1 or more.*{limit}"):
        evaluate(codec, None, pictures, limit=limit, progress=False)


def test_streams_that_cannot_be_kept_are_refused_before_anything_is_coded(codec, pictures, tmp_path):
    (tmp_path / "file").write_text("mine")
    codec.compress = None
    with pytest.raises(DataError, match=r"cannot make .*another folder for `save_streams`"):
        evaluate(codec, None, pictures, save_streams=tmp_path / "file", progress=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot read"),
        (b"\xff\xfe\n", "it is not text"),
        (b"[1]\n", "a line holds a list"),
        (b"my notes", "it holds no records"),
    ],
)
def test_files_of_another_kind_are_not_gone_on_from(codec, pictures, tmp_path, content, says):
    path = tmp_path / "log"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=says):
        evaluate(codec, None, pictures, resume=path, progress=False)
    assert content is None or path.read_bytes() == content


def test_records_without_their_fields_are_damaged(codec, pictures, tmp_path):
    log = tmp_path / "log.jsonl"
    evaluate(codec, None, pictures, resume=log, limit=1, progress=False)
    log.write_text(log.read_text().splitlines()[0] + '\n{"name": "p0.png"}\n')
    with pytest.raises(DataError, match=r"damaged .*pixels"):
        evaluate(codec, None, pictures, resume=log, limit=1, progress=False)
