import pytest
import torch

from icmh_plugins.adapters.clip.conditioner import degradation_words, load_conditioner
from icmh_plugins.adapters.clip.daclip import DAClip, read_daclip
from icmh_plugins.errors import ConfigError


@pytest.fixture
def file(plain, tmp_path):
    torch.save(plain.state_dict(), tmp_path / "daclip.pt")
    return tmp_path / "daclip.pt"


@pytest.fixture
def pictures():
    return torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(3))


def test_a_published_file_gives_the_embeddings_of_the_fork(plain, file, pictures):
    conditioner = load_conditioner(f"daclip:{file}")
    content, degradation = conditioner(pictures)
    with torch.no_grad():
        wanted = plain(conditioner.preprocess(pictures))
    assert (content - wanted[0]).abs().max() < 1e-5
    assert (degradation - wanted[1]).abs().max() < 1e-5
    assert (content - degradation).abs().max() > 0.01


@pytest.mark.parametrize("wrapped", [lambda s: {"state_dict": s}, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_training_files_are_unwrapped(plain, tmp_path, wrapped, pictures):
    torch.save(wrapped(plain.state_dict()), tmp_path / "wrapped.pt")
    torch.save(plain.state_dict(), tmp_path / "bare.pt")
    a, b = (load_conditioner(f"daclip:{tmp_path / name}.pt")(pictures) for name in ("wrapped", "bare"))
    assert torch.equal(a.content, b.content)
    assert torch.equal(a.degradation, b.degradation)


def test_with_its_linear_layers_at_zero_the_content_is_that_of_clip(random_clip):
    clip = random_clip()
    daclip = DAClip(clip.visual)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    content, degradation = daclip(x)
    assert torch.equal(content, clip.visual(x))
    assert torch.allclose(degradation, content, atol=1e-5)


def test_the_controllers_last_output_goes_to_the_first_block(random_clip):
    clip = random_clip()
    daclip, seen = DAClip(clip.visual), []
    torch.nn.init.constant_(daclip.zero[-1].bias, 0.5)
    for block in clip.visual.transformer.resblocks:
        block.register_forward_hook(lambda module, args, output: seen.append(output))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        daclip(x)
        steered, plain = seen[0], clip.visual.transformer.resblocks[0](clip.visual.ln_pre(_tokens(clip.visual, x)))
    assert torch.allclose(steered, plain + 0.5, atol=1e-6)


def _tokens(visual, x):
    patches = visual.conv1(x).flatten(2).transpose(1, 2)
    return torch.cat([visual.class_embedding.expand(len(x), 1, -1), patches], 1) + visual.positional_embedding


def test_only_the_controller_trains(random_clip):
    daclip = DAClip(random_clip().visual).train()
    assert all(p.requires_grad for p in [*daclip.controller.parameters(), *daclip.zero.parameters()])
    assert not any(p.requires_grad for p in daclip.visual.parameters())
    assert daclip.controller.training
    assert not any(module.training for module in daclip.visual.modules())


def test_the_content_does_not_reach_the_controller_until_the_linear_layers_move(random_clip):
    daclip = DAClip(random_clip().visual)
    x = torch.rand(1, 3, 32, 32)
    daclip(x)[0].square().sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in daclip.controller.parameters())
    assert daclip.zero[0].weight.grad.any()
    with torch.no_grad():
        daclip.zero[0].weight.add_(0.01)
    daclip(x)[0].square().sum().backward()
    assert daclip.controller.conv1.weight.grad.any()


@pytest.mark.parametrize(("width", "layers", "count"), [(768, 12, 7_087_104), (1024, 24, 25_190_400)])
def test_the_linear_layers_have_the_published_number_of_parameters(width, layers, count):
    class Visual(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.class_embedding = torch.nn.Parameter(torch.zeros(width))
            self.transformer = torch.nn.Module()
            self.transformer.resblocks = torch.nn.ModuleList(torch.nn.Identity() for _ in range(layers))

    assert sum(p.numel() for p in DAClip(Visual()).zero.parameters()) == count


def test_the_words_are_embedded_by_the_text_tower_of_the_file(file, plain):
    open_clip = pytest.importorskip("open_clip")
    words, prototypes = degradation_words(f"daclip:{file}")
    with torch.no_grad():
        wanted = plain.clip.encode_text(open_clip.SimpleTokenizer()(["snowy"]), normalize=True)[0]
    assert len(words) == 10
    assert torch.allclose(prototypes[words.index("snowy")], wanted, atol=1e-6)


def test_code_in_a_file_is_not_run(tmp_path):
    class Bad:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"clip.visual.conv1.weight": Bad()}, tmp_path / "bad.pt")
    with pytest.raises(ConfigError, match="tensors alone"):
        read_daclip(tmp_path / "bad.pt")


def test_another_layout_is_named(plain, tmp_path):
    torch.save(plain.clip.state_dict(), tmp_path / "clip.pt")
    with pytest.raises(ConfigError, match=r"visual_control.*open_clip:MODEL@FILE"):
        read_daclip(tmp_path / "clip.pt")


def test_a_controller_of_another_width_is_named(plain, file, tmp_path):
    state = plain.state_dict()
    key = "visual_control.transformer.zero_modules.0.weight"
    state[key] = torch.zeros(32, 32)
    torch.save(state, tmp_path / "narrow.pt")
    with pytest.raises(ConfigError, match=r"narrow\.pt.*do not fit"):
        load_conditioner(f"daclip:{tmp_path / 'narrow.pt'}")


@pytest.mark.parametrize("key", ["visual.proj", "positional_embedding", "visual.positional_embedding"])
def test_a_missing_tensor_is_named(plain, tmp_path, key):
    state = plain.state_dict()
    del state[f"clip.{key}"]
    torch.save(state, tmp_path / "cut.pt")
    with pytest.raises(ConfigError, match=rf"cut\.pt is no DA-CLIP file: it has no clip\.{key}\."):
        load_conditioner(f"daclip:{tmp_path / 'cut.pt'}")


@pytest.mark.parametrize("shape", [(32, 3, 8, 8), (64,)])
def test_a_tower_of_impossible_sizes_is_named(plain, tmp_path, shape):
    torch.save(plain.state_dict() | {"clip.visual.conv1.weight": torch.zeros(shape)}, tmp_path / "odd.pt")
    with pytest.raises(ConfigError, match=r"'daclip:odd\.pt' do not fit"):
        load_conditioner(f"daclip:{tmp_path / 'odd.pt'}")


def test_a_text_tower_of_few_tokens_is_named(plain, tmp_path):
    state = plain.state_dict()
    state["clip.token_embedding.weight"] = state["clip.token_embedding.weight"][:128]
    torch.save(state, tmp_path / "few.pt")
    with pytest.raises(ConfigError, match=r"'daclip:few\.pt' do not fit.*index out of range"):
        degradation_words(f"daclip:{tmp_path / 'few.pt'}")
