"""`evaluate`: code every image to a real stream, decode it, and measure rate, fidelity and the task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.container import unpack
from icmh_plugins.bitstream.files import whole_file
from icmh_plugins.bitstream.plan import plan_of
from icmh_plugins.bitstream.runtime import coding_mode, device_of
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.nested import fingerprint
from icmh_plugins.data.sources import open_data
from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.evaluation.complexity import timed
from icmh_plugins.evaluation.progress import progress_bar
from icmh_plugins.evaluation.protocols import EvaluationProtocol, find_protocol
from icmh_plugins.evaluation.provenance import identity
from icmh_plugins.evaluation.records import ImageRecord, RecordLog
from icmh_plugins.evaluation.resampling import draw
from icmh_plugins.evaluation.result import EvaluationResult, summarise
from icmh_plugins.evaluation.scoring import Scorer
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.create import create_task
from icmh_plugins.tasks.human import Human


def evaluate(
    model: nn.Module,
    task: str | Task | Mapping[str, str | Task] | None,
    data: Any,
    *,
    task_options: Mapping[str, Any] | None = None,
    metrics: Sequence[str] | None = None,
    views: Sequence[str] = (),
    name: str | None = None,
    label: str = "",
    protocol: str = "native",
    limit: int | None = None,
    save_streams: str | Path | None = None,
    resume: str | Path | None = None,
    progress: bool = True,
) -> EvaluationResult:
    """Measure a codec with its active adapters on real streams, one image after the other.

    PSNR and MS-SSIM are always measured, on values rounded to 8 bits. "bpp" counts the entropy-coded strings
    (CompressAI's convention), "bpp-with-header" the whole stream; both over the pixels that the protocol counts
    (native: the original ones), mean over images.

    Args:
        model: Any codec with entropy tables.
        task: A registered task's name, a `Task`, or several by name (metrics are then called ``"name/metric"``);
            None measures rate and fidelity only. Decoding is shared.
        data: A folder of pictures, a CSV of labels, ``coco:IMAGES_FOLDER,ANNOTATIONS.json`` (``coco-masks:`` for masks
            beside boxes), or an indexable dataset.
        task_options: Options of the task when it is one name.
        metrics: Task metrics to report; None takes all, and then refuses data without the labels they need.
        views: Further views of the same streams to score ("human", or a named adapter); their metrics are called
            ``"top1@human"``. The stream's own view is always scored; further ones are decoded once more, so that
            "decoding_time" stays that of the own view.
        name: For legends; defaults to the codec's class and its active adapters.
        label: What this rate point is called ("q2").
        protocol: One of `evaluation.protocols.PROTOCOLS`: what is done to pictures first, and whose pixels count.
            Where it resizes, boxes and masks are predicted on the resized picture, in original pixels.
        limit: Take the first images only.
        save_streams: Folder to write every stream to.
        resume: File of records; an evaluation that was stopped goes on after the last one in it, on the same data.
        progress: Show a progress bar.

    Raises:
        ConfigError: Unknown protocol, metric or task option, or a `limit` below 1.
        DataError: Labels are missing or do not fit the protocol, `resume` belongs to another evaluation or cannot be
            gone on from, or `save_streams` cannot be made. Before anything is coded.
    """
    rules, tasks = find_protocol(protocol), _tasks(task, task_options or {}, device_of(unwrap(model)))
    scorer, dataset = Scorer(tasks, metrics), open_data(data)
    count = _count(dataset, limit)
    _check(dataset[0], scorer, rules)
    measure = partial(_measure, model, rules, scorer=scorer, views=views, folder=_made(save_streams))
    settings = {"protocol": protocol, "views": list(views), "images": count, "data": fingerprint(dataset)}
    settings["metrics"] = None if metrics is None else sorted(metrics)
    facts = identity(model, tasks, lower_is_better=scorer.lower_is_better(), **settings)
    log = _opened_log(resume, facts, scorer, dataset, by_name=not settings["data"]) if resume else None
    _plan(unwrap(model))
    records = _records(measure, dataset, count, log, progress)
    name, whole = name or _default_name(model), scorer.whole(draw(count))
    return summarise(model, name, label, protocol, records, whole, facts)


def _check(first: Sample, scorer: Scorer, rules: EvaluationProtocol) -> None:
    """Refuse targets that metrics or protocol cannot use."""
    scorer.check_targets(first)
    rules.check_target(first)


def _plan(root: nn.Module) -> None:
    """Find out once how the codec codes, so that it is not in the time of the first image."""
    with coding_mode(root):
        plan_of(root)


def _count(dataset: Dataset[Sample], limit: int | None) -> int:
    """How many images are looked at."""
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be 1 or more, or None for all images; got {limit}")
    images = len(dataset)  # type: ignore[arg-type]
    return images if limit is None else min(limit, images)


def _opened_log(path: str | Path, facts: Mapping[str, Any], scorer: Scorer, dataset: Any, by_name: bool) -> RecordLog:
    """The records of an evaluation that goes on; the scorer gets what they found.

    Data without a fingerprint are recognised by the names of their pictures.
    """
    log = RecordLog(path, facts)
    for record in log.records:
        scorer.restore(record.evidence)
    if by_name:
        log.check_names(dataset[index]["name"] for index in range(len(log.records)))
    return log


def _records(
    measure: Callable[[Mapping[str, Any], int], ImageRecord],
    dataset: Dataset[Sample],
    count: int,
    log: RecordLog | None,
    progress: bool,
) -> list[ImageRecord]:
    """The records of the first `count` images: those of the log, then measured ones, which the log gets at once."""
    records = list(log.records) if log else []
    with progress_bar(count, len(records), progress) as advance:
        for index in range(len(records), count):
            record = measure(dataset[index], index)
            if log:
                log.append(record)
            records.append(replace(record, evidence={}))  # the metrics have it
            advance(record)
    return records


@torch.no_grad()
def _measure(
    model: nn.Module,
    protocol: EvaluationProtocol,
    sample: Mapping[str, Any],
    index: int,
    scorer: Scorer,
    views: Sequence[str],
    folder: Path | None,
) -> ImageRecord:
    """Code one image and look at it with every task in every view; the stream goes to a file in `folder`."""
    frame, device = protocol.frame(sample), device_of(unwrap(model))
    stream, encoding_time = timed(encode, model, frame.coded.to(device)[None])
    decoded, decoding_time = timed(decode, model, stream)
    if folder is not None:
        with whole_file(folder / f"{index:05d}-{PurePosixPath(sample['name']).stem}.icmh") as scratch:
            scratch.write_bytes(stream)
    batches = scorer.prepare(frame.sample, frame.sample["image"].to(device)[None])
    pictures = {"": decoded} | (decode(model, stream, views=views) if views else {})
    found = [scorer.score(frame.shown(each), batches, view, frame.judged) for view, each in pictures.items()]
    return ImageRecord(
        name=sample["name"],
        pixels=math.prod(frame.size),
        stream_bytes=len(stream),
        string_bytes=sum(map(len, unpack(stream).images[0])),
        encoding_time=encoding_time,
        decoding_time=decoding_time,
        scores={name: value for each in found for name, value in each.values.items()},
        evidence={key: value for each in found for key, value in each.evidence.items()},
    )


def _made(save_streams: str | Path | None) -> Path | None:
    """The folder for streams, if there shall be one."""
    if save_streams is None:
        return None
    folder = Path(save_streams)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot make {str(folder)!r}: {error.strerror}. Remedy: another folder for `save_streams`"
        ) from error
    return folder


def _tasks(
    task: str | Task | Mapping[str, str | Task] | None, options: Mapping[str, Any], device: torch.device
) -> list[tuple[str, Task]]:
    """Tasks on `device` with the prefixes of their metrics; fidelity is among them."""
    if isinstance(task, Mapping):
        if options:
            raise ConfigError("task_options belong to one task; give several as Task objects made by create_task")
        tasks = [(prefix, create_task(each)) for prefix, each in task.items()]
    else:
        tasks = [] if task is None else [("", create_task(task, **options))]
    fidelity = [] if any(not prefix and isinstance(each, Human) for prefix, each in tasks) else [("", Human())]
    return [(prefix, each.to(device)) for prefix, each in tasks + fidelity]


def _default_name(model: nn.Module) -> str:
    host = host_of(model)
    return " + ".join((type(unwrap(model)).__name__, *(host.active if host else ())))
