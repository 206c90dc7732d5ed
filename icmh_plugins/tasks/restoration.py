"""Restoration: the decoded picture shall look like the clean one, whatever was wrong with what was coded."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn

from icmh_plugins.errors import ConfigError, DataError
from icmh_plugins.tasks.base import Batch, Task, TaskConfig, TaskLoss, freeze
from icmh_plugins.tasks.metrics import MeanScore
from icmh_plugins.tasks.restoration_losses import make_loss
from icmh_plugins.tasks.restoration_metrics import find_metric
from icmh_plugins.tasks.restoration_networks import make_restorer


class RestorationConfig(TaskConfig):
    """Options of the restoration task.

    Attributes:
        losses: Weight of each loss by name: "l1", "mse", "charbonnier", "ssim" (1 - SSIM), "tv", or
            ``"basicsr:<Loss>"``. One name, or a list of names, weighs each with 1.
        loss_options: Arguments of BasicSR's losses by name.
        metrics: "psnr", "ssim", "basicsr:niqe", and BasicSR's own "basicsr:psnr" and "basicsr:ssim"; a name or a list.
            In results they are called by the part after the colon.
        network: A frozen restoration network behind the codec, ``"basicsr:<Arch>"`` or a module; both loss and
            metrics then look at what it makes of the decoded picture. None: at the decoded picture itself.
        network_options: Arguments of BasicSR's architecture.
        checkpoint: Local weights of the network (.safetensors, or a torch file read without unpickling code).
        multiple: What height and width of the network's input must be multiples of; None takes what is known of the
            architecture (SwinIR: its window; RRDBNet: 4), else 1. The border is repeated to get there.
    """

    losses: dict[str, float] = Field(default={"charbonnier": 1.0}, min_length=1)
    loss_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    metrics: tuple[str, ...] = ("psnr", "ssim")
    network: str | None = None
    network_options: dict[str, Any] = Field(default_factory=dict)
    checkpoint: str | None = None
    multiple: int | None = Field(None, ge=1)

    @field_validator("losses", mode="before")
    @classmethod
    def _names_as_weights(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        return dict.fromkeys(names, 1.0) if isinstance(names, list | tuple) else value

    @field_validator("metrics", mode="before")
    @classmethod
    def _one_metric(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _metrics_differ(self) -> RestorationConfig:
        names = [name.rpartition(":")[2] for name in self.metrics]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"metrics has {', '.join(twice)} twice; results could not tell them apart")
        return self

    @model_validator(mode="after")
    def _options_belong_to_losses(self) -> RestorationConfig:
        stray = set(self.loss_options) - set(self.losses)
        if stray:
            raise ValueError(f"loss_options for {', '.join(sorted(stray))}, which is not among the losses")
        return self


class Restoration(Task):
    """Make the picture what it should have been.

    Batches have the degraded pictures as "image" (what is coded) and the ideal ones as "clean": distortion and metrics
    compare with "clean". Metrics are per image, on values rounded to 8 bits: "psnr" in dB, "ssim", and "niqe".
    """

    Config = RestorationConfig
    higher_is_better: ClassVar = {"psnr": True, "ssim": True, "niqe": False}
    live: ClassVar = ("network",)
    paper: ClassVar = "Rate-perception objective after Xue et al., LL-ICM, arXiv:2412.03841; losses after BasicSR"

    def __init__(self, config: RestorationConfig | None = None, network: nn.Module | None = None) -> None:
        """Build the losses and, where there is one, the network.

        Args:
            config: The options.
            network: A restoration network (B, 3, H, W) -> (B, 3, H, W) on [0, 1]; frozen in place.

        Raises:
            ConfigError: An unknown loss, metric or architecture, or options that these do not take.
            DataError: The checkpoint does not fit.
            MissingDependencyError: BasicSR is asked for and not installed.
        """
        super().__init__(config)
        self._metrics = {name.rpartition(":")[2]: find_metric(name) for name in self.config.metrics}
        self.higher_is_better = {name: type(self).higher_is_better[name] for name in self._metrics}
        self._losses = {n: make_loss(n, self.config.loss_options.get(n, {})) for n in self.config.losses}
        self._modules_of_losses = nn.ModuleList(each for each in self._losses.values() if isinstance(each, nn.Module))
        chosen = network if network is not None else self.config.network
        self.network = None
        if chosen is not None:
            options = self.config.network_options, self.config.checkpoint, self.config.multiple
            self.network = make_restorer(chosen, *options)
        elif self.config.checkpoint is not None or self.config.network_options:
            raise ConfigError("checkpoint and network_options belong to a network; name it with network=")
        if network is not None:
            self.config = self.config.model_copy(update={"network": f"module:{type(network).__qualname__}"})
        freeze(self)

    def distortion(self, x_hat: Tensor, batch: Batch) -> TaskLoss:
        """Weighted sum of the losses of decoded images (B, 3, H, W) against the clean ones; `parts` has each.

        Without a network the images are not clipped, as in CompressAI's training.

        Raises:
            DataError: The batch has no clean pictures, or their sizes differ from those decoded.
        """
        clean, restored = _clean(batch, x_hat), self._restored(x_hat)
        parts = {name: loss(restored, clean) for name, loss in self._losses.items()}
        total = sum(self.config.losses[name] * value for name, value in parts.items())
        return TaskLoss(total, {name: value.detach() for name, value in parts.items()})

    @torch.no_grad()
    def predict(self, x_hat: Tensor) -> Tensor:
        """The restored pictures (B, 3, H, W), clipped to [0, 1]."""
        return self._restored(x_hat).clamp(0, 1)

    def metrics(self) -> MeanScore:
        """Accumulator of the metrics asked for."""
        return MeanScore(self._score)

    def _restored(self, x_hat: Tensor) -> Tensor:
        return x_hat if self.network is None else self.network(x_hat)

    def _score(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        clean = _clean(batch, prediction)
        restored, clean = (each.float().clamp(0, 1).mul(255).round() / 255 for each in (prediction, clean))
        return {name: metric(restored, clean) for name, metric in self._metrics.items()}


def _clean(batch: Batch, like: Tensor) -> Tensor:
    """The clean pictures of a batch, one tensor on the device of the decoded ones."""
    clean = batch.get("clean")
    if clean is None:
        raise DataError(
            "restoration needs clean pictures beside the degraded ones: samples with 'image' and 'clean', as "
            "`data.degradations_dataset.Degrade` and `data.paired.PairedImages` give them"
        )
    pictures = list(clean)
    if len(pictures) != len(like) or any(each.shape != like.shape[1:] for each in pictures):
        sizes = ", ".join(str(tuple(each.shape)) for each in pictures)
        raise DataError(f"decoded pictures {tuple(like.shape)} have clean ones of {sizes}; pairs need equal sizes")
    return torch.stack(pictures).to(like.device)
