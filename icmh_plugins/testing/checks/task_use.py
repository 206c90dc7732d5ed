"""Checks of tasks at work: distortion and predictions."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from icmh_plugins.errors import DataError, in_words
from icmh_plugins.tasks.base import TaskLoss
from icmh_plugins.testing.checks.check import Check, UnmetError, demand
from icmh_plugins.testing.checks.pictures import resized
from icmh_plugins.testing.checks.task_case import TaskCase
from icmh_plugins.testing.checks.trees import equal_trees, tensors_in


def gives_a_loss(case: TaskCase) -> None:
    """A finite scalar with gradients, and parts for the log."""
    loss = _loss(case, case.damaged())
    demand(
        isinstance(loss, TaskLoss) and isinstance(loss.total, Tensor),
        f"distortion gives {type(loss).__name__}. Remedy: return icmh_plugins.TaskLoss(total, parts)",
    )
    demand(
        loss.total.dim() == 0 and bool(loss.total.isfinite()),
        f"the total is {loss.total.tolist()}. Remedy: one finite number, the mean over the images",
    )
    wrong = [n for n, part in loss.parts.items() if not isinstance(part, Tensor) or part.requires_grad or part.dim()]
    demand(not wrong, f"the parts {', '.join(wrong)} are not detached scalar tensors. Remedy: value.detach()")


def has_gradients(case: TaskCase) -> None:
    """The decoded picture gets a finite gradient, pixels outside of [0, 1] included."""
    x_hat = case.damaged()
    total = _loss(case, x_hat).total
    demand(total.requires_grad, "the total has no gradient. Remedy: no no_grad, detach or round on the way from x_hat")
    total.backward()
    found = x_hat.grad
    demand(
        found is not None and bool(found.isfinite().all()) and bool(found.ne(0).any()),
        "the gradient of x_hat is missing, zero, or not finite. Remedy: no detach or round on the way from x_hat, a "
        "small constant under roots",
    )
    silent = [index for index, gradient in enumerate(found) if not bool(gradient.ne(0).any())]
    demand(not silent, f"images {silent} of the batch have no gradient. Remedy: the mean over all images")


def is_least_at_the_original(case: TaskCase) -> None:
    """Nothing is lost where nothing is changed."""
    with torch.no_grad():
        best = float(_loss(case, case.wanted()).total)
        others = {a: float(_loss(case, case.damaged(amount=a)).total) for a in (0.05, 0.2)}
    better = {amount: value for amount, value in others.items() if value < best}
    demand(
        not better,
        f"the distortion of the wanted picture itself is {best:.4g}, that of noisy ones {better}. Remedy: compare with "
        "the reference of the uncompressed picture",
    )


def stays_frozen(case: TaskCase) -> None:
    """Its networks are measuring instruments: no gradients, eval mode, whatever is called."""
    task = case.task
    task.train()
    training = [name or "the task" for name, module in task.named_modules() if module.training]
    demand(
        not training,
        f"after train(), {', '.join(training[:3])} are in training mode. Remedy: leave Task.train as it is, and "
        "register networks as submodules",
    )
    _loss(case, case.damaged()).total.backward()
    trained = [name for name, p in task.named_parameters() if p.requires_grad or p.grad is not None]
    demand(
        not trained,
        f"parameters of its networks can be trained: {', '.join(trained[:3])}. Remedy: "
        "icmh_plugins.tasks.base.freeze(network) in __init__",
    )


def stays_unchanged(case: TaskCase) -> None:
    """Using it changes no parameter and no buffer."""
    before = {name: tensor.clone() for name, tensor in case.task.state_dict().items()}
    _loss(case, case.damaged()).total.backward()
    case.task.predict(case.damaged().detach())
    after = case.task.state_dict()
    changed = [name for name, tensor in before.items() if name not in after or not _same(tensor, after[name])]
    demand(
        not changed and before.keys() == after.keys(),
        f"using it changes {', '.join(changed[:3]) or 'the list of tensors'}. Remedy: eval mode (batch normalisation), "
        "no running statistics",
    )


def takes_sizes(case: TaskCase) -> None:
    """Pictures of two sizes, and one alone."""
    task = case.task
    for images, size in ((2, (96, 80)), (1, (64, 64))):
        batch = resized(case.batch(), images, size)
        x_hat = (0.9 * batch["image"] + 0.03).requires_grad_()
        try:
            total = task.distortion(x_hat, batch).total
            predicted = task.predict(x_hat.detach())
        except Exception as error:
            raise UnmetError(
                f"{images} pictures of {size[0]} x {size[1]}: {in_words(error)}. Remedy: the task resizes pictures "
                "itself, to what its network takes"
            ) from error
        demand(bool(total.isfinite()), f"{images} pictures of {size[0]} x {size[1]} have the distortion {total}")
        demand(predicted is not None, "predict gives None")


def works_without_labels(case: TaskCase) -> None:
    """A batch of pictures alone is taken, or refused in words."""
    task, batch = case.task, {key: value for key, value in case.batch().items() if key != "target"}
    try:
        task.distortion(case.damaged(), task.prepare(batch))
    except DataError as error:
        demand(len(str(error)) > 20, f"the refusal of a batch without labels does not say what is missing: {error}")
    except Exception as error:
        raise UnmetError(
            f"a batch without labels raises {in_words(error)}. Remedy: icmh_plugins.errors.DataError that says which "
            "labels are needed, or a distortion without them"
        ) from error


def predicts_the_same(case: TaskCase) -> None:
    """Two calls give the same predictions, without gradients."""
    x_hat = case.damaged()
    first = case.task.predict(x_hat)
    torch.rand(7)
    second = case.task.predict(x_hat)
    demand(
        equal_trees(first, second),
        "two predictions of one picture differ. Remedy: eval mode, no random crops, no state between calls",
    )
    attached = [tensor for tensor in tensors_in(first) if tensor.requires_grad]
    demand(not attached, "predictions carry gradients, which keeps memory. Remedy: @torch.no_grad() on predict")


def leaves_inputs(case: TaskCase) -> None:
    """The decoded pictures and the batch are not written to."""
    x_hat, batch = case.damaged().detach(), case.batch()
    before = x_hat.clone(), case.batch()
    case.task.distortion(x_hat, case.task.prepare(batch))
    case.task.predict(x_hat)
    demand(
        torch.equal(x_hat, before[0]) and equal_trees(batch, before[1]),
        "it writes into x_hat or the batch. Remedy: no in-place operations on them, and a new dict in prepare",
    )


def _loss(case: TaskCase, x_hat: Tensor) -> TaskLoss:
    return case.task.distortion(x_hat, case.task.prepare(case.batch()))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(torch.equal(a, b))


CHECKS: Final = (
    Check("task-distortion", "`distortion` gives a finite scalar and detached parts", gives_a_loss),
    Check("task-gradient", "Every decoded picture gets a finite gradient that is not zero", has_gradients),
    Check(
        "task-least-at-original", "The distortion of the wanted picture is zero, or the least", is_least_at_the_original
    ),
    Check("task-frozen", "Networks stay in eval mode and get no gradients", stays_frozen),
    Check("task-unchanged", "Using it changes none of its tensors", stays_unchanged),
    Check("task-sizes", "Pictures of two sizes, and a single one, are taken", takes_sizes),
    Check("task-without-labels", "Batches without labels are taken, or refused by a `DataError`", works_without_labels),
    Check(
        "task-predict-deterministic",
        "Two predictions of a picture are equal, and carry no gradients",
        predicts_the_same,
    ),
    Check("task-inputs-untouched", "Decoded pictures and batches are not written to", leaves_inputs),
)
