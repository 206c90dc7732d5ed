"""DA-CLIP on a stock CLIP: a controller that reads the degradation and steers the frozen tower past it.

Paper: Luo et al., "Controlling Vision-Language Models for Multi-Task Image Restoration", ICLR 2024 (code MIT). Here the
frozen tower and the controller are two unchanged open_clip towers; hooks on their blocks do what the published fork
does inside its transformer. Published weight files load (`read_daclip`), as tensors only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from icmh_plugins.codecs.checkpoints import read_state
from icmh_plugins.errors import ConfigError

_SHAPING = (
    "clip.visual.conv1.weight",
    "clip.visual.positional_embedding",
    "clip.visual.proj",
    "clip.positional_embedding",
    "clip.token_embedding.weight",
)
"""Tensors that the sizes of a model are read from."""

_HIDDENS: ContextVar[list[Tensor] | None] = ContextVar("icmh_daclip_hiddens", default=None)


class DAClip(nn.Module):
    """A frozen image tower and its controller.

    The controller has the tower's form and, for each of its blocks, a linear layer that starts at zero. After each
    block of the frozen tower the output of one of these is added, in reversed order: the controller's last goes to the
    tower's first block. With all of them at zero the content embedding is plain CLIP's.

    Attributes:
        visual: The frozen tower; stays in eval mode.
        controller: Its copy; its own output is the degradation embedding.
        zero: The linear layers.
    """

    def __init__(self, visual: nn.Module) -> None:
        """Add an untrained controller to a tower, which is frozen; the controller takes gradients."""
        super().__init__()
        self.controller = copy.deepcopy(visual).requires_grad_(True)  # before the tower's gradients are switched off
        self.visual = visual.eval().requires_grad_(False)
        width = visual.class_embedding.shape[0]
        self.zero = nn.ModuleList(nn.Linear(width, width) for _ in visual.transformer.resblocks)
        for parameter in self.zero.parameters():
            nn.init.zeros_(parameter)
        for block, linear in zip(self.controller.transformer.resblocks, self.zero, strict=True):
            block.register_forward_hook(_Collect(linear))
        for block in self.visual.transformer.resblocks:
            block.register_forward_hook(_add)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Content and degradation embeddings (B, d), neither normalised, of preprocessed pictures (B, 3, S, S)."""
        hiddens: list[Tensor] = []
        token = _HIDDENS.set(hiddens)
        try:
            degradation = self.controller(x)
            content = self.visual(x)
        finally:
            _HIDDENS.reset(token)
        return content, degradation

    def train(self, mode: bool = True) -> DAClip:
        """The controller may train, the tower stays in eval mode."""
        super().train(mode)
        self.visual.eval()
        return self


class _Collect:
    """Hook of a controller's block: keeps what its linear layer makes of the block's output."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear

    def __call__(self, module: nn.Module, args: Any, output: Tensor) -> None:
        hiddens = _HIDDENS.get()
        if hiddens is not None:
            hiddens.append(self.linear(output))


def _add(module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """Hook of a block of the frozen tower: adds the last of what is left of the controller's."""
    hiddens = _HIDDENS.get()
    return output + hiddens.pop() if hiddens else output


@dataclass(frozen=True)
class DAClipState:
    """What a published file holds.

    Attributes:
        clip: State of the whole CLIP.
        controller: State of the controller's tower.
        zero: State of the linear layers.
    """

    clip: dict[str, Tensor]
    controller: dict[str, Tensor]
    zero: dict[str, Tensor]

    def shape(self) -> dict[str, Any]:
        """The arguments of open_clip's ``CLIP`` that the tensors fit. Heads are 64 wide, as in all published models."""
        conv, positions = self.clip["visual.conv1.weight"], self.clip["visual.positional_embedding"]
        patch, side = conv.shape[-1], round((positions.shape[0] - 1) ** 0.5)
        words, text_width = self.clip["token_embedding.weight"].shape
        return {
            "embed_dim": self.clip["visual.proj"].shape[1],
            "vision_cfg": {
                "image_size": patch * side,
                "patch_size": patch,
                "width": conv.shape[0],
                "layers": _layers(self.clip, "visual.transformer.resblocks."),
            },
            "text_cfg": {
                "context_length": self.clip["positional_embedding"].shape[0],
                "vocab_size": words,
                "width": text_width,
                "heads": max(1, text_width // 64),
                "layers": _layers(self.clip, "transformer.resblocks."),
            },
        }

    def fill(self, daclip: DAClip) -> DAClip:
        """Load the controller and the linear layers; the frozen tower has its tensors already."""
        daclip.controller.load_state_dict(self.controller)
        daclip.zero.load_state_dict(self.zero)
        return daclip


def read_daclip(path: Path) -> DAClipState:
    """Read a DA-CLIP file of the published layout; nothing is unpickled but tensors.

    Keys: ``clip.*``, ``visual.*`` (a duplicate), ``visual_control.*`` with ``transformer.transformer.resblocks.N`` and
    ``transformer.zero_modules.N``, ``logit_scale``; possibly under "state_dict", possibly with ``module.`` before each.

    Raises:
        ConfigError: It cannot be read safely, or has another layout.
    """
    stored = read_state(path, ("state_dict",), ConfigError)
    state = {key.removeprefix("module."): tensor for key, tensor in stored.items()}
    control = _below(state, "visual_control.")
    inner, zero = "transformer.transformer.", "transformer.zero_modules."
    found = DAClipState(
        clip=_below(state, "clip."),
        controller={
            key.replace(inner, "transformer.", 1): tensor for key, tensor in control.items() if not key.startswith(zero)
        },
        zero=_below(control, zero),
    )
    missing = sorted({*_SHAPING, f"visual_control.{zero}0.weight"} - state.keys())
    if missing:
        raise ConfigError(
            f"{path.name} is no DA-CLIP file: it has no {', '.join(missing)}. Remedy: daclip_ViT-B-32.pt or another "
            "published file; plain CLIP weights are given as 'open_clip:MODEL@FILE'"
        )
    return found


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


def _layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({key[len(prefix) :].partition(".")[0] for key in state if key.startswith(prefix)})
