"""What the speed benchmark compares with: SFMA as published, and a training loop without any of our care."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from icmh_plugins.adapters.sfma import SFMA
from icmh_plugins.adapters.slot import slots
from icmh_plugins.training.loss import bits_per_pixel


class PublishedSFMA(nn.Module):
    """x + s (S(x) + F(x)) with amplitude and phase taken apart: plain layers, PyTorch's own gradients.

    The layers are those of `adapter`, shared, so that both forms have the same weights and gradients.
    """

    def __init__(self, adapter: SFMA) -> None:
        super().__init__()
        for name, layer in adapter.named_children():
            self.add_module(name, layer)
        self.factor = adapter.factor

    def forward(self, x: Tensor) -> Tensor:
        """Modulate a feature map (B, C, H, W)."""
        spectrum = torch.fft.rfft2(self.f_down(x))
        amplitude, phase = spectrum.abs(), spectrum.angle()
        amplitude = amplitude * torch.sigmoid(self.f_inter(F.relu(self.f_dw(amplitude), inplace=True)))
        spectrum = torch.complex(amplitude * phase.cos(), amplitude * phase.sin())
        frequency = self.f_up(F.relu(torch.fft.irfft2(spectrum, s=x.shape[-2:]), inplace=True))
        spatial = self.s_up(F.relu(self.s_dw(self.s_down1(x)) * self.s_down2(x), inplace=True))
        return x + (spatial + frequency) * self.factor


def use_published_form(codec: nn.Module) -> None:
    """Replace every SFMA on `codec` by its published form."""
    for _, slot in slots(codec):
        for key, adapter in slot.adapters.items():
            slot.adapters[key] = PublishedSFMA(adapter)


class PlainLoop:
    """Training as one writes it at first.

    The whole codec is in train mode and gets gradients nowhere but in the adapters; the task network is in eval mode,
    but its parameters were not told that they need no gradients; its features of the uncompressed picture are computed
    like those of the decoded one; the batch is in PyTorch's default layout.
    """

    def __init__(self, codec: nn.Module, network: nn.Module, layers: Sequence[str], lmbda: float) -> None:
        self.codec, self.network, self.lmbda = codec.train(), network.eval(), lmbda
        self.seen: list[Tensor] = []
        for layer in layers:
            network.get_submodule(layer).register_forward_hook(lambda module, args, out: self.seen.append(out))
        self.parameters = [p for p in codec.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.parameters, lr=1e-4)

    def run(self, images: Sequence[Tensor], batch_size: int, steps: int) -> float:
        """Train and return seconds a step."""
        started = time.perf_counter()
        for step in range(steps):
            first = step * batch_size % len(images)
            self._step(torch.stack(list(images[first : first + batch_size])))
        return (time.perf_counter() - started) / steps

    def _step(self, image: Tensor) -> None:
        out = self.codec(image)
        pairs = zip(self._features(out["x_hat"]), self._features(image), strict=True)
        distortion = torch.stack([F.mse_loss(decoded, original) for decoded, original in pairs]).mean()
        loss = bits_per_pixel(out["likelihoods"], image) + self.lmbda * distortion
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimiser.step()

    def _features(self, image: Tensor) -> list[Tensor]:
        self.seen = []
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        self.network((image - mean) / std)
        return self.seen
