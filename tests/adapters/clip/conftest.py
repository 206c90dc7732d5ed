"""Small random CLIP models as files, and DA-CLIP written out plainly to compare with."""

import copy
import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

SHAPE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


def make_clip(seed=0, **changes):
    import open_clip

    torch.manual_seed(seed)
    model = open_clip.CLIP(**{**copy.deepcopy(SHAPE), **changes}).eval()
    with torch.no_grad():  # the stock initialisation leaves random towers nearly constant
        for parameter in model.visual.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def make_local_dir(folder, seed=0, words=None, preprocess=None):
    """A folder that open_clip reads, with the model in it."""
    text = {"context_length": 2, "vocab_size": 12, "width": 32, "heads": 1, "layers": 1}
    shape = {**copy.deepcopy(SHAPE), "text_cfg": text}
    model = make_clip(seed, text_cfg=text)
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = preprocess or {"size": 32, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}
    config = {"model_cfg": shape, "preprocess_cfg": preprocess} | ({"words": words} if words else {})
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return model


class PlainDAClip(nn.Module):
    """DA-CLIP as its fork runs it: block by block, no hooks. Its state dict has the published names."""

    def __init__(self, clip):
        super().__init__()
        self.clip, self.visual = clip, clip.visual
        self.visual_control = copy.deepcopy(clip.visual)
        self.visual_control.transformer = _Control(self.visual_control.transformer)
        self.logit_scale = nn.Parameter(torch.tensor(4.6))

    def forward(self, x):
        hiddens = []
        degradation = _run(self.visual_control, self.visual_control.transformer.transformer, x, collect=hiddens)
        return _run(self.clip.visual, self.clip.visual.transformer, x, add=hiddens), degradation

    def enliven(self, seed=1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.visual_control.named_parameters():
                scale = 0.05 if "zero_modules" in name else 0.02
                parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
        return self


class _Control(nn.Module):
    def __init__(self, transformer):
        super().__init__()
        self.transformer = transformer
        width, blocks = transformer.width, len(transformer.resblocks)
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        for parameter in self.zero_modules.parameters():
            nn.init.zeros_(parameter)


def _run(visual, transformer, x, collect=None, add=None):
    x = visual.conv1(x).flatten(2).transpose(1, 2)
    token = visual.class_embedding.expand(len(x), 1, -1)
    x = visual.ln_pre(torch.cat([token, x], 1) + visual.positional_embedding)
    for index, block in enumerate(transformer.resblocks):
        x = block(x)
        if collect is not None:
            collect.append(visual.transformer.zero_modules[index](x))
        if add is not None:
            x = x + add.pop()
    return visual.ln_post(x)[:, 0] @ visual.proj


@pytest.fixture(scope="session")
def random_clip():
    """Makes a CLIP model; equal calls give equal models."""
    pytest.importorskip("open_clip")
    return make_clip


@pytest.fixture(scope="session")
def local_dir():
    """Writes a CLIP model to a folder."""
    pytest.importorskip("open_clip")
    return make_local_dir


@pytest.fixture
def plain():
    """DA-CLIP with a controller that does something."""
    pytest.importorskip("open_clip")
    return PlainDAClip(make_clip()).enliven().eval()
