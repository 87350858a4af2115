"""What blocks of networks compute, by name."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.channels import draw_channels
from rsfusion_jax.inference.intermediates import list_blocks, parse_blocks
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.models.layers import Conv, one_after_another
from rsfusion_jax.models.network import Network
from rsfusion_jax.ops.resample import interp23


def _fuser(name, **fields):
    model = create_model(name, num_bands=3, **fields)
    options = {"diffusion": {"steps": 8, "sampling_steps": 2}} if name == "ddif" else {}
    params = init_params(model, jax.random.key(0))
    return rsf.Fuser(model, {"params": params}, max_value=2047, **options)


def _pair():
    draw = np.random.default_rng(4)
    return draw.integers(1, 2000, (16, 24)), draw.integers(1, 2000, (4, 6, 3))


def test_last_block_is_the_injected_detail():
    fuser, (pan, ms) = _fuser("fusionnet"), _pair()
    lms = np.asarray(interp23(ms.astype(np.float32), 4))
    maps = fuser.intermediates(pan, ms, "conv3, res1/*", lms)
    assert sorted(maps) == ["conv3", "res1/conv20", "res1/conv21"]
    assert maps["conv3"].shape == (16, 24, 3) and maps["res1/conv20"].shape == (16, 24, 32)
    images = pan[None, ..., None] / 2047, ms[None] / 2047, lms[None] / 2047
    fused = fuser.model.apply(fuser.variables, *images)["fused"]
    assert np.abs(fused[0] - images[2][0] - maps["conv3"]).max() < 1e-5


def test_diffusion_is_seen_in_the_middle_of_its_schedule():
    fields = {"inner_channel": 8, "channel_mults": (1,), "attn_res": (), "res_blocks": 1}
    fuser, (pan, ms) = _fuser("ddif", **fields), _pair()
    batch = np.stack([pan, pan[::-1]]), np.stack([ms, ms[::-1]])
    maps = fuser.intermediates(*batch, "final_conv")
    assert maps["final_conv"].shape == (2, 16, 24, 3)
    assert np.isfinite(maps["final_conv"]).all() and np.ptp(maps["final_conv"]) > 0


def test_names_of_blocks():
    model = create_model("cf2n", num_bands=3, n=2)
    blocks = list_blocks(model)
    assert {"fd2r", "fscfm1", "fscfm2", "fscfm2/fda", "mdi/rb_pan/conv0"} <= set(blocks)
    assert parse_blocks("fd2r,fscfm*", model) == ("fd2r", "fscfm1", "fscfm2")
    assert parse_blocks("fscfm?/fda", model) == ("fscfm1/fda", "fscfm2/fda")
    assert parse_blocks("rb_pan", model) == ("rb_pan",)
    assert parse_blocks("masks", model) == ("fscfm1/fsm/masks", "fscfm2/fsm/masks")
    assert parse_blocks("", model) == ()
    with pytest.raises(UserError, match=r"no block .fdr2. .* blocks are detail, fd2r"):
        parse_blocks("fd2r,fdr2", model)


class Chain(Network):
    """Two layers in a loop that is compiled once."""

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        layers = [Conv(self.num_bands, name=f"layer{i}") for i in (1, 2)]
        return {"fused": one_after_another(layers, lms)}


def test_blocks_of_a_loop_are_seen():
    model = Chain(num_bands=3)
    fuser = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))})
    pan, ms = (image / 2047 for image in _pair())
    maps = fuser.intermediates(pan, ms, "layer*")
    lms = interp23(ms[None].astype(np.float32), 4)
    params = fuser.variables["params"]
    expected = Conv(3).apply({"params": params["layer1"]}, lms)
    assert np.abs(maps["layer1"] - expected[0]).max() < 1e-6
    fused = model.apply(fuser.variables, pan[None, ..., None], ms[None], lms)["fused"]
    assert np.abs(maps["layer2"] - fused[0]).max() < 1e-6
    blocks = list_blocks(create_model("rsanet", num_bands=3, channels=4, blocks=2))
    assert {"block1", "block2/conv2/stage4/sa/q"} <= set(blocks)


def test_channels_are_drawn_with_their_own_stretch():
    ramp = np.linspace(0, 1, 50, dtype=np.float32).reshape(5, 10)
    maps = np.stack([ramp, 1e-3 * ramp, np.zeros_like(ramp)], axis=-1)
    picture = draw_channels(maps)
    assert picture.shape == (7, 36, 3) and picture.dtype == np.uint8
    assert np.array_equal(picture[:5, :10], picture[:5, 12:22]) and picture[4, 9, 0] == 255
    assert picture[:5, 24:34].max() == 0 and picture[:, 10:12].min() == 255
    assert draw_channels(np.zeros((4, 4, 64))).shape == (24, 24, 3)
    assert draw_channels(np.zeros((4, 4, 64)), most=6).shape == (12, 24, 3)
