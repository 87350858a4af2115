"""DDIF where users meet it: the Fuser's options, the training objective, a run and its folder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import config_flags  # noqa: F401  (the config files need absl set up)

import rsfusion_jax as rsf
from configs import default
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.inference.export import export_fuser
from rsfusion_jax.models import init_params
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.training import sharding
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.objectives import make_objective

TINY = {"inner_channel": 8, "channel_mults": (1,), "attn_res": (), "res_blocks": 1}
KEY = jax.random.key(7)
SHORT = {"steps": 20, "sampling_steps": 4}


def tiny_model(**fields):
    return rsf.create_model("ddif", num_bands=4, **(TINY | fields))


@pytest.fixture(scope="module")
def fuser():
    model = tiny_model()
    params = init_params(model, jax.random.key(0))
    return rsf.Fuser(model, {"params": params}, sensor="qb", diffusion=SHORT)


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    return rng.integers(0, 2047, (32, 32)), rng.integers(0, 2047, (8, 8, 4))


def test_fuses_in_units(fuser, scene):
    fused = fuser(*scene)
    assert fused.shape == (32, 32, 4) and fused.dtype == np.float32
    assert fused.min() >= 0 and 2 < fused.max() <= 2047


def test_seeds(fuser, scene):
    fused = fuser(*scene)
    assert np.array_equal(fused, fuser(*scene, seed=0))
    assert not np.allclose(fused, fuser(*scene, seed=1))


def test_an_image_does_not_depend_on_its_batch(fuser, scene):
    pan, ms = scene
    other = np.stack([pan[::-1], pan]), np.stack([ms[::-1], ms])
    np.testing.assert_allclose(fuser(*other)[1], fuser(*scene), atol=2e-2)
    unit = [jnp.asarray(image, jnp.float32)[None] / 2047 for image in (pan[..., None], ms)]
    fused = fuser.fuse_unit(*unit, interp23(unit[1], 4))[0]
    np.testing.assert_allclose(np.asarray(fused) * 2047, fuser(*scene), atol=1e-2)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpm2", "dpm3"])
def test_samplers(fuser, scene, sampler):
    fused = fuser(*scene, sampler=sampler)
    assert np.isfinite(fused).all()
    if sampler == "ddim":
        assert np.array_equal(fused, fuser(*scene, sampler=sampler, steps=4))
        assert not np.allclose(fused, fuser(*scene, sampler=sampler, steps=5))
    if sampler == "ddpm":
        assert np.array_equal(fused, fuser(*scene, sampler=sampler, steps=20))


def test_ensembles(fuser, scene):
    one = fuser(*scene)
    mean, std = fuser(*scene, samples=3, return_std=True)
    assert mean.shape == std.shape == one.shape
    assert np.array_equal(mean, fuser(*scene, samples=3))
    # One of the three is the single sample: no mean of three lies further from one of them.
    assert (np.abs(one - mean) <= std * (4 / 3) ** 0.5 + 1e-2).all()
    assert std.mean() > 1


def test_tiles_share_the_noise(fuser, scene):
    """Larger than the image they are the image; smaller ones are blended."""
    fused = fuser(*scene)
    np.testing.assert_allclose(fuser(*scene, tile=64), fused, atol=1e-2)
    tiled = fuser(*scene, tile=16)
    assert np.isfinite(tiled).all() and not np.allclose(tiled, fused, atol=1)


def test_options_are_checked(fuser, scene):
    for options, words in (
        ({"steps": 0}, "steps=0 must be at least 1"),
        ({"steps": 21}, "21 sampling steps"),
        ({"samples": 0}, "samples=0"),
        ({"return_std": True}, "samples= of at least 2"),
        ({"sampler": "euler"}, "'euler' is unknown"),
    ):
        with pytest.raises(rsf.UserError, match=words):
            fuser(*scene, **options)
    for name in ("schedule", "sampler", "timestep_index", "self_condition"):
        with pytest.raises(rsf.UserError, match=r"'cos' is unknown; choose"):
            rsf.Fuser(fuser.model, fuser.variables, diffusion={name: "cos"})
    with pytest.raises(rsf.UserError, match="not exported"):
        export_fuser(fuser, "never_written", tile=16)


def test_direct_networks_take_no_options(scene):
    model = rsf.create_model("pnn", num_bands=4)
    direct = rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))}, sensor="qb")
    for name, value in (
        ("seed", 1),
        ("steps", 5),
        ("sampler", "ddim"),
        ("samples", 2),
        ("return_std", True),
    ):
        with pytest.raises(rsf.UserError, match=f"{name}={value!r} is for diffusion networks"):
            direct(*scene, **{name: value})


def batch_of(size=8):
    keys = jax.random.split(jax.random.key(3), 3)
    shapes = {"pan": (2, size, size, 1), "lms": (2, size, size, 4), "gt": (2, size, size, 4)}
    return {
        name: jax.random.uniform(key, shape)
        for (name, shape), key in zip(shapes.items(), keys, strict=True)
    }


@pytest.mark.parametrize("loss, predicts", [("l1", "noise"), ("mse", "v"), ("l1ssim", "x0")])
def test_objective(loss, predicts):
    model = tiny_model(predicts=predicts)
    params = init_params(model, jax.random.key(0))
    objective = make_objective("diffusion", loss, Diffusion(**SHORT))
    batch = batch_of(16)

    @jax.jit
    def value(params, key):
        return objective(model, params, batch, key)[0]

    values = [float(value(params, jax.random.key(i))) for i in range(4)]
    assert np.isfinite(values).all() and len(set(values)) == 4
    # A network that answers zero: the loss is the size of what is sought.
    zero = jax.tree.map(jnp.zeros_like, params)
    if loss == "mse":
        assert 0.3 < value(zero, jax.random.key(0)) < 1.2


def test_objectives_name_the_wrong_network():
    batch, key = batch_of(), jax.random.key(0)
    direct, denoiser = rsf.create_model("pnn", num_bands=4), tiny_model()
    noise = tiny_model(predicts="noise")
    for objective, model, words in (
        (make_objective("diffusion", "l1", Diffusion()), direct, "needs a diffusion network"),
        (make_objective("supervised", "l1"), denoiser, "set it to 'diffusion'"),
        (make_objective("diffusion", "l1ssim", Diffusion()), noise, "predicts 'noise'"),
    ):
        with pytest.raises(rsf.UserError, match=words):
            objective(model, {}, batch, key)


def test_one_device_equals_eight(fuser):
    """Noise and timesteps are drawn as if there were one; images are drawn where they lie."""
    rng = np.random.default_rng(1)
    shapes = {"pan": (8, 8, 8, 1), "ms": (8, 2, 2, 4), "lms": (8, 8, 8, 4), "gt": (8, 8, 8, 4)}
    batch = {name: rng.random(shape, np.float32) for name, shape in shapes.items()}
    objective = make_objective("diffusion", "l1", fuser.diffusion)
    model, params = fuser.model, fuser.variables["params"]

    def loss_of(params, batch):
        return objective(model, params, batch, KEY)[0]

    found = []
    for devices in (1, 8):
        mesh = sharding.make_mesh(devices, 1)
        with jax.set_mesh(mesh):
            placed = sharding.put_batch(mesh, batch)
            loss = jax.jit(functools.partial(sharding.mean_over_devices, loss_of))
            fused = fuser.fuse_unit(placed["pan"], placed["ms"], placed["lms"])
            assert len(fused.sharding.device_set) == devices
            assert fused.sharding.is_fully_replicated == (devices == 1)
            found.append((float(loss(params, placed)), np.asarray(fused)))
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-5)


def test_a_run(tmp_path):
    """The moving average is validated by the sampler; the folder remembers the process."""
    config = default.get_config()
    config.name = "tiny"
    config.model = {"name": "ddif", **TINY}
    config.data.patch_size = 16
    config.data.crops_per_sample = 4
    config.data.synthetic.update(train_scenes=2, valid_scenes=1, test_scenes=1, size=32)
    config.train.update(objective="diffusion", batch_size=8, steps=4, log_every=2)
    config.train.update(eval_every=2, checkpoint_every=4, ema_decay=0.9)
    config.optim.warmup_steps = 1
    config.diffusion.update(**SHORT)
    config.eval.update(batch_size=2, methods=())
    config.mesh.devices = 1
    loaded = rsf.load(train(config, tmp_path / "run"))
    assert loaded.diffusion == Diffusion(**SHORT)
    assert (tmp_path / "run" / "report.json").exists()
    again = rsf.load(tmp_path / "run" / "best")
    assert again.diffusion.steps == 20
