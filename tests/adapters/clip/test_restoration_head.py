import pytest
import torch

from icmh_plugins.adapters.clip.conditioner import Embedding
from icmh_plugins.adapters.coded_picture import (
    CodedPicture,
    coding,
    forward_pass,
    message_for,
    only_message,
    send,
    take_signal,
)
from icmh_plugins.adapters.prompt import PromptMixer
from icmh_plugins.adapters.restoration_head import RestorationHead
from icmh_plugins.adapters.side_information import SideInfoTap, pack_levels, unpack_levels
from icmh_plugins.errors import AdapterError, StreamError


def make(levels=2, blocks=1, gate=True, tile=0, lively=True, width=8):
    torch.manual_seed(0)
    head = RestorationHead(3, width, levels, blocks, 16, gate, tile)
    if lively:
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return head


@pytest.fixture
def condition():
    return torch.randn(1, 16, generator=torch.Generator().manual_seed(1))


def test_an_untrained_head_returns_its_input(condition):
    x = torch.rand(1, 3, 30, 41)
    assert torch.equal(make(lively=False)(x, condition), x)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (31, 33), (64, 48)])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_any_size(size, levels, condition):
    x = torch.rand(1, 3, *size)
    assert make(levels=levels)(x, condition).shape == x.shape


@pytest.mark.parametrize(("levels", "blocks"), [(0, 1), (1, 2), (2, 1), (3, 1), (2, 2)])
def test_tiles_give_what_the_whole_gives(levels, blocks, condition):
    x = torch.rand(1, 3, 150, 203, generator=torch.Generator().manual_seed(2))
    whole, tiles = make(levels, blocks), make(levels, blocks, tile=64)
    with torch.no_grad():
        wanted, found = whole(x, condition), tiles(x, condition)
    assert (wanted - x).abs().max() > 0.1
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize(("levels", "blocks"), [(1, 1), (2, 1), (2, 2)])
def test_no_pixel_sees_further_than_the_halo(levels, blocks, condition):
    head = make(levels, blocks)
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    head(x, condition)[0, 0, 64, 64].backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert 64 - head.halo <= rows.min()
    assert rows.max() <= 64 + head.halo
    assert head.halo % head.multiple == 0


def test_pictures_of_a_batch_are_restored_by_themselves():
    x, conditions = torch.rand(3, 3, 24, 24), torch.randn(3, 16)
    head = make()
    with torch.no_grad():
        alone = torch.cat([head(x[i : i + 1], conditions[i : i + 1]) for i in range(3)])
        assert torch.allclose(head(x, conditions), alone, atol=1e-5)
        assert not torch.allclose(head(x, conditions.flip(0)), alone, atol=1e-3)


def test_a_closed_gate_leaves_the_picture_alone(condition):
    head, x = make(), torch.rand(1, 3, 24, 24)
    with torch.no_grad():
        head.gate.weight.zero_()
        head.gate.bias.fill_(-20)
        assert (head(x, condition) - x).abs().max() < 1e-6
    assert make(gate=False).gate is None


def test_the_default_size_is_about_a_million():
    head = RestorationHead(3, 32, 3, 1, 128, True, 512)
    assert 0.9e6 < sum(p.numel() for p in head.parameters()) < 1.5e6


def test_the_condition_depends_on_both_embeddings_and_not_on_their_norms():
    torch.manual_seed(0)
    mixer = PromptMixer(12, 16)
    a, b, c = torch.randn(3, 2, 12)
    with torch.no_grad():
        base = mixer(Embedding(a, b))
        assert torch.allclose(mixer(Embedding(7 * a, 0.1 * b)), base, atol=1e-5)
        assert not torch.allclose(mixer(Embedding(c, b)), base, atol=1e-3)
        assert not torch.allclose(mixer(Embedding(a, c)), base, atol=1e-6)


@pytest.mark.parametrize("bits", [1, 3, 5, 8, 12])
@pytest.mark.parametrize("count", [1, 7, 32])
def test_levels_are_packed_without_loss(bits, count):
    levels = torch.randint(0, 2**bits, (count,), generator=torch.Generator().manual_seed(bits)).tolist()
    message = pack_levels(levels, bits)
    assert len(message) == -(-bits * count // 8)
    assert unpack_levels(message, count, bits) == levels


def test_side_information_has_the_price_stated():
    assert 8 * len(pack_levels([0] * 64, 6)) / 256**2 == pytest.approx(0.00586, abs=1e-5)
    assert 8 * len(pack_levels([0] * 512, 8)) / 256**2 == 0.0625
    assert 8 * len(pack_levels([0] * 64, 6)) / (768 * 512) == pytest.approx(0.00098, abs=1e-5)


def test_a_message_of_another_length_is_damage():
    with pytest.raises(StreamError, match="has 2 bytes, not 4 values of 5 bits"):
        unpack_levels(b"ab", 4, 5)


def test_embeddings_are_scaled_to_a_mean_square_of_one():
    found = Embedding(torch.randn(2, 9) * 40, torch.randn(2, 9) / 40).scaled()
    assert all(torch.allclose(part.square().mean(1), torch.ones(2), atol=1e-5) for part in found)


class FakeClip:
    width = 6

    def embed(self, x):
        mean = x.mean((2, 3)).repeat(1, 2)
        return Embedding(mean, mean)


def test_quantised_values_are_levels_and_pass_gradients():
    torch.manual_seed(0)
    tap = SideInfoTap(FakeClip(), 5, 3)
    x = torch.rand(2, 3, 8, 8)
    with coding(CodedPicture((8, 8))) as picture:
        tap(x)
        signal = take_signal()
        module, message = only_message(picture)
    levels = (signal + 1) / 2 * 7
    assert torch.allclose(levels, levels.round(), atol=1e-5)
    assert unpack_levels(message, 5, 3) == levels[0].round().long().tolist()
    assert module is tap
    signal.sum().backward()
    assert tap.project.weight.grad.abs().sum() > 0


def test_signals_are_taken_once_and_do_not_leave_a_coding():
    send(torch.nn.Identity(), torch.ones(1))
    with coding(CodedPicture((1, 1))):
        assert take_signal() is None
        send(torch.nn.Identity(), torch.zeros(1))
    assert take_signal().item() == 1
    assert take_signal() is None


def test_what_only_an_encoder_sends_stays_within_a_forward_pass():
    module = torch.nn.Identity()
    send(module, torch.ones(1), b"x")
    assert take_signal() is None
    with forward_pass():
        assert message_for(module) is None
        send(module, torch.ones(1), b"x")
        with forward_pass():
            assert take_signal() is None
        send(module, torch.ones(1), b"x")
    assert take_signal() is None
    with pytest.raises(AdapterError, match="carry no side information"):
        message_for(module)


def test_two_senders_are_refused():
    with coding(CodedPicture((1, 1))) as picture:
        for _ in range(2):
            send(torch.nn.Identity(), torch.ones(1), b"x")
    with pytest.raises(AdapterError, match="a stream carries that of one"):
        only_message(picture)
