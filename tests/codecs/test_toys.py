import pytest
import torch

from icmh_plugins.codecs.entropy import has_tables
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}
RASTER = {"mbt2018", "cheng2020-anchor", "cheng2020-attn"}


@pytest.fixture
def image():
    return torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", CODECS)
def test_real_streams_give_back_what_forward_reconstructs(name, image):
    model = CODECS[name]()
    with torch.no_grad():
        coded = model.compress(image)
        decoded = model.decompress(coded["strings"], coded["shape"])["x_hat"]
        x_hat = model(image)["x_hat"].clamp(0, 1)
    assert has_tables(model)
    assert not model.training
    assert decoded.shape == image.shape
    assert decoded.std() > 0.1
    if name not in RASTER:  # their forward rounds y itself, their coder y minus its mean
        torch.testing.assert_close(decoded, x_hat, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CODECS)
def test_equal_calls_give_equal_models_and_leave_the_random_state_alone(name):
    state = torch.get_rng_state()
    first, second = CODECS[name]().state_dict(), CODECS[name]().state_dict()
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_slice_codec_codes_a_batch_into_one_string_and_cannot_decode_it(image):
    model = TOYS["slice"]()
    with torch.no_grad():
        coded = model.compress(torch.cat([image, image.flip(3)]))
        assert len(coded["strings"][0]) == 1
        with pytest.raises(RuntimeError):
            model.decompress(coded["strings"], coded["shape"])


@pytest.mark.parametrize("name", TOYS)
def test_toys_load_their_own_weights_strictly_even_with_other_tables(name):
    model, other = TOYS[name](), TOYS[name]()
    for table in ("_quantized_cdf", "_cdf_length", "_offset"):
        other.entropy_bottleneck._buffers[table] = torch.empty(0, dtype=torch.int32)
    other.load_state_dict(model.state_dict())
    assert has_tables(other)
