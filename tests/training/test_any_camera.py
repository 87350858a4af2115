"""The objective that makes MS anew in every step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import rsfusion_jax as rsf
from rsfusion_jax.data.simulation.psf import Psf, observe
from rsfusion_jax.models import create_model
from rsfusion_jax.training.any_camera import BANDS, _draw, _observed
from rsfusion_jax.training.objectives import make_objective


@pytest.mark.parametrize("ratio", [2, 3, 4, 6])
def test_observes_as_the_simulation_does(ratio):
    """Nearly, inside: the simulation windows its kernel and replicates at borders."""
    image = np.random.default_rng(0).random((72, 72, 3), np.float32)
    gains = np.array([0.15, 0.3, 0.42], np.float32)
    found = _observed(image[None], gains[None], ratio)[0]
    wanted = observe(image, Psf("mtf"), ratio, gains=tuple(map(float, gains)), centred=False)
    inside = np.s_[4:-4, 4:-4]
    found, wanted = found[inside], wanted[inside]
    assert np.square(found - wanted).mean() < 0.1**2 * wanted.var()
    moved = np.square(found[1:] - wanted[:-1]).mean()
    assert moved > 0.5 * wanted.var()


@pytest.mark.parametrize("guides", [1, 4])
def test_draws_bands_guides_and_blur(guides):
    rng = np.random.default_rng(1)
    truth, pan = rng.random((24, 24, 10)) + np.arange(10), rng.random((24, 24, 1))
    seen, compressed = set(), set()
    for seed in range(8):
        bands, guide, gains, losses = jax.jit(_draw, static_argnames="guides")(
            truth, pan, jax.random.key(seed), guides=guides
        )
        assert bands.shape == (24, 24, BANDS) and guide.shape == (24, 24, guides)
        assert ((gains > 0.05) & (gains < 0.5)).all()
        # Haze adds one value to a band: without it bands are those of the truth.
        which = np.round((bands - bands.mean((0, 1)))[0, 0], 4)
        known = np.round((truth - truth.mean((0, 1)))[0, 0], 4)
        assert all(np.abs(known - value).min() < 1e-3 for value in which)
        assert losses.shape == (2,) and ((losses > 0).all() or (losses == 0).all())
        compressed.add(bool(losses[0]))
        seen.add(len(set(which.tolist())))
    assert compressed == {True, False}
    assert max(seen) == BANDS and len(seen) > 1


def test_the_loss_is_what_is_left_of_interpolations_error():
    """Of a network that adds nothing all of it is left."""

    class Nothing:
        predicts, sees_units = "fused", False

        def clone(self, **fields):
            assert fields["num_bands"] == BANDS
            return self

        def apply(self, variables, pan, ms, lms, train):
            return {"fused": lms + variables["params"]}

    rng = np.random.default_rng(2)
    batch = {
        "gt": jnp.asarray(rng.random((2, 48, 48, 10)), jnp.float32),
        "pan": jnp.asarray(rng.random((2, 48, 48, 1)), jnp.float32),
    }
    objective = make_objective("any_camera", "of_exp")
    run = jax.jit(lambda params, key: objective(Nothing(), params, batch, key)[0])
    values = [float(run(0.0, jax.random.key(seed))) for seed in range(3)]
    assert np.allclose(values, 1, atol=2e-3)
    assert run(0.5, jax.random.key(0)) > 1.2


def test_refusals():
    with pytest.raises(rsf.UserError, match="defined with of_exp"):
        make_objective("any_camera", "l1")
    objective = make_objective("any_camera", "of_exp")
    with pytest.raises(rsf.UserError, match="needs a network without units"):
        objective(create_model("pnn", num_bands=4), {}, {}, jax.random.key(0))
