"""The scale of the residual: what it divides, what it leaves alone, and where it comes from."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import config_flags  # noqa: F401  (the config files need absl set up)

import rsfusion_jax as rsf
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.diffusion import process
from rsfusion_jax.diffusion.distillation import distillation_loss
from rsfusion_jax.diffusion.schedules import make_schedule
from rsfusion_jax.inference.draw import Diffusion, draw
from rsfusion_jax.inference.load import load_torch, save_torch
from rsfusion_jax.inference.port import checkpoint_from_torch
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.sensors import get_sensor
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.residual_scale import find_residual_scale, residual_deviation

TINY = {"inner_channel": 8, "channel_mults": (1,), "attn_res": (), "res_blocks": 1}
SHORT = {"steps": 20, "sampling_steps": 3}
SCALE, KEY = 0.05, jax.random.key(3)


class Denoiser:
    """A network of one number, with the interface of DDIF."""

    predicts, self_condition, title = "x0", True, "a test's"

    def apply(self, variables, x_t, t, pan, lms, x_self=None, train=False, rngs=None):
        """Mixes its inputs, as no linear function of x_t."""
        seen = x_t if x_self is None else x_self
        gain = variables["params"]["gain"]
        return gain * jnp.tanh(x_t + 0.5 * seen) + pan - lms + 0.01 * t[:, None, None, None]


@pytest.fixture(scope="module")
def batch():
    gt, lms, pan = jax.random.uniform(KEY, (3, 2, 8, 8, 2))
    return {"gt": gt, "lms": lms, "pan": pan, "ms": lms}


@pytest.fixture(scope="module")
def fuser():
    model = rsf.create_model("ddif", num_bands=4, **TINY)
    params = init_params(model, jax.random.key(0))
    return rsf.Fuser(
        model, {"params": params}, sensor="qb", diffusion=SHORT | {"residual_scale": SCALE}
    )


def objectives(batch, name, loss, **fields):
    """The loss as a function of the network's number."""
    compare = make_objective(name, loss, Diffusion(**SHORT, **fields), 2)
    extra = {"teacher": {"gain": 0.3}} if name == "distillation" else {}
    return lambda gain: compare(Denoiser(), {"gain": gain}, batch, KEY, **extra)[0]


def test_a_scale_of_1_is_the_program_of_before(batch):
    schedule, lms, pan = make_schedule("cosine", 20), batch["lms"], batch["pan"]

    def denoise(gain):
        return lambda x_t, t, x_self=None, key=None: Denoiser().apply(
            {"params": {"gain": gain}}, x_t, t, pan, lms, x_self
        )

    def published(gain):
        return process.training_loss(denoise(gain), schedule, batch["gt"] - lms, KEY)

    def distilled(gain):
        student = Diffusion(**SHORT).make_sampler().schedule
        networks = denoise(gain), denoise(0.3)
        x_start = batch["gt"] - lms
        return distillation_loss(*networks, schedule, student, x_start, KEY, teacher_steps=2)

    for name, before in (("diffusion", published), ("distillation", distilled)):
        for scale in (1, SCALE):
            now = objectives(batch, name, "l1", residual_scale=scale)
            same = str(jax.make_jaxpr(now)(0.5)) == str(jax.make_jaxpr(before)(0.5))
            assert same == (scale == 1), (name, scale)
    clips = [
        str(jax.make_jaxpr(clip)(lms, pan))
        for clip in (process.clip_x0, lambda x0, lms: jnp.clip(x0 + lms, 0, 1) - lms)
    ]
    assert clips[0] == clips[1]


@pytest.mark.parametrize(
    "name, loss", [("diffusion", "l1"), ("diffusion", "mse"), ("distillation", "l1")]
)
def test_a_scale_is_that_of_the_data(batch, name, loss):
    """Scale s on the residual r is scale 1 on r / s."""
    divided = batch | {"gt": batch["lms"] + (batch["gt"] - batch["lms"]) / SCALE}
    scaled = objectives(batch, name, loss, residual_scale=SCALE)(0.5)
    np.testing.assert_allclose(scaled, objectives(divided, name, loss)(0.5), rtol=1e-5)
    assert abs(scaled / objectives(batch, name, loss)(0.5) - 1) > 0.1


def test_l1ssim_compares_images(batch):
    """A network that always answers the scaled residual has no loss."""
    model = Denoiser()
    residual = (batch["gt"] - batch["lms"]) / SCALE
    model.apply = lambda *inputs, train, rngs: residual
    compare = make_objective("diffusion", "l1ssim", Diffusion(**SHORT, residual_scale=SCALE))
    assert abs(compare(model, {}, batch, KEY)[0]) < 1e-5


@pytest.mark.parametrize("kind", ["absolute", "dynamic"])
def test_clipping_is_of_the_image(batch, kind):
    residual, lms = 3 * (batch["gt"] - batch["lms"]), batch["lms"]
    clipped = process.clip_x0(residual / SCALE, lms, kind, scale=SCALE)
    expected = process.clip_x0(residual, lms, kind)
    assert np.abs(expected - residual).max() > 0.5
    np.testing.assert_allclose(clipped, expected / SCALE, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_what_is_drawn_is_multiplied(sampler):
    """The same network on the same noise: only what it answers is taken for more."""
    lms, pan = jnp.full((1, 8, 8, 2), 0.5), jnp.full((1, 8, 8, 2), 0.7)
    variables = {"params": {"gain": 0.5}}
    (mean, std), (twice, twice_std) = (
        draw(Denoiser(), variables, KEY, pan, lms, samples=3, diffusion=process)
        for process in (
            Diffusion(steps=20, sampler=sampler, sampling_steps=4, residual_scale=scale)
            for scale in (0.01, 0.02)
        )
    )
    assert std.mean() > 1e-4 and np.abs(mean - lms).mean() > 1e-3
    np.testing.assert_allclose(twice - lms, 2 * (mean - lms), atol=1e-6)
    np.testing.assert_allclose(twice_std, 2 * std, atol=1e-6)


def test_the_card_keeps_it(fuser, tmp_path):
    about = {"sensor": None, "max_value": 1.0, "ms_phase": 2.0}
    card = network_card(fuser.model, {}, **about, diffusion=fuser.diffusion)["diffusion"]
    assert Diffusion(**json.loads(json.dumps(card))) == fuser.diffusion
    published = network_card(fuser.model, {}, **about, diffusion=Diffusion())["diffusion"]
    old = dataclasses.asdict(Diffusion())
    assert old.pop("residual_scale") == 1 and published == old
    assert Diffusion(**old).residual_scale == 1  # a card of an earlier version
    rsf.save_pretrained(fuser, tmp_path / "weights")
    assert rsf.load(tmp_path / "weights").diffusion == fuser.diffusion
    for wrong in (0, -0.1, float("nan"), "data"):
        with pytest.raises(rsf.UserError, match="finite number above 0"):
            Diffusion(residual_scale=wrong)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_pytorch_note_it(fuser, tmp_path, suffix):
    torch = pytest.importorskip("torch", reason="reading .pth needs the extra [torch]")
    path, plain = tmp_path / f"scaled{suffix}", tmp_path / f"plain{suffix}"
    save_torch(fuser, path)
    fields = {"num_bands": 4, **TINY}
    assert load_torch("ddif", path, **fields).diffusion.residual_scale == SCALE
    own = load_torch("ddif", path, **fields, diffusion={"residual_scale": 2, "steps": 30})
    assert (own.diffusion.residual_scale, own.diffusion.steps) == (2, 30)
    folder = tmp_path / "run"
    checkpoint_from_torch(path, folder, model="ddif", num_bands=4, fields=TINY)
    assert rsf.load(folder).diffusion.residual_scale == SCALE
    start = default_config()
    for stored in (str(path), str(folder)):
        start.init_from = stored
        assert find_residual_scale(start, None, tmp_path / "new") == SCALE
    save_torch(rsf.Fuser(fuser.model, fuser.variables), plain)
    assert load_torch("ddif", plain, **fields).diffusion.residual_scale == 1
    if suffix == ".pth":
        content = torch.load(path, weights_only=True)
        layer = torch.nn.Linear(8, 32)
        names = {"weight": "noise_level_mlp.1.weight", "bias": "noise_level_mlp.1.bias"}
        for name in [name for name in content if name not in names.values()]:
            del content[name]
        for name, stored in names.items():
            content[name] = content.pop(stored)
        assert "rsfusion_jax" in content._metadata
        assert not any(layer.load_state_dict(content, strict=True))


class Images:
    """A set of a few images in memory, which counts those that are read."""

    def __init__(self, count, residual):
        self.info = SetInfo("a set", get_sensor("qb"), 4, 1, 4, 2047.0, 2.0, True)
        self.read, self._residual = [], np.asarray(residual, np.float32)
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        self.read.append(index)
        lms = np.full_like(self._residual[0], 0.3)
        return {"lms": lms, "gt": lms + self._residual[index % len(self._residual)]}


def test_data_is_the_deviation_of_the_set(tmp_path, capsys):
    residual = np.random.default_rng(0).normal(0.01, 0.04, (5, 8, 8, 4))
    config, images = default_config(), Images(5, residual)
    assert find_residual_scale(config, images, tmp_path) == 1 and not images.read
    config.diffusion.residual_scale = "data"
    found = find_residual_scale(config, images, tmp_path)
    assert found == float(f"{residual.std():.4g}") and images.read == [0, 1, 2, 3, 4]
    assert f"residual scale {found:g}" in capsys.readouterr().out
    many = Images(10**6, residual)
    assert abs(residual_deviation(many) / residual.std() - 1) < 0.02
    assert len(many.read) == 256 and many.read[0] == 0 and many.read[-1] == 10**6 - 1
    for wrong in (np.zeros((1, 4, 4, 4)), np.full((1, 4, 4, 4), np.nan)):
        with pytest.raises(rsf.UserError, match=r"in 1 images of a set is (0|nan)"):
            residual_deviation(Images(1, wrong))


def test_weights_keep_their_scale(fuser, tmp_path, capsys):
    config = default_config()
    config.init_from = str(tmp_path / "scaled")
    rsf.save_pretrained(fuser, config.init_from)
    for requested in (1.0, "data", SCALE):
        config.diffusion.residual_scale = requested
        assert find_residual_scale(config, None, tmp_path / "run") == SCALE
    assert f"residual scale {SCALE:g}, that of the weights" in capsys.readouterr().out
    config.diffusion.residual_scale = 0.1
    with pytest.raises(rsf.UserError, match=r"residual_scale=0.1, .* trained with 0.05; leave"):
        find_residual_scale(config, None, tmp_path / "run")
    config.init_from = str(tmp_path / "published")
    rsf.save_pretrained(rsf.Fuser(fuser.model, fuser.variables), config.init_from)
    config.diffusion.residual_scale = "data"
    with pytest.raises(rsf.UserError, match="were trained with 1; leave it out"):
        find_residual_scale(config, None, tmp_path / "run")


@pytest.mark.slow
def test_a_run_its_student_and_its_resumption(tmp_path, capsys):
    config = small_run()
    config.diffusion.residual_scale = "data"
    teacher = train(config, tmp_path / "run")
    found = rsf.load(teacher).diffusion.residual_scale
    assert 0.01 < found < 0.2 and f"residual scale {found:g}" in capsys.readouterr().out

    config.train.steps = 4  # resumed, without looking at the data again
    longer = rsf.load(train(config, teacher))
    assert longer.diffusion == Diffusion(**SHORT, residual_scale=found)
    assert "deviation of gt - lms" not in capsys.readouterr().out
    config.diffusion.residual_scale = 2 * found
    with pytest.raises(rsf.UserError, match=r"diffusion\.residual_scale: 'data' there"):
        train(config, teacher)

    config = small_run()
    config.init_from, config.train.objective = str(teacher), "distillation"
    config.diffusion.update(sampler="dpm1", sampling_steps=2)
    student = rsf.load(train(config, tmp_path / "student"))
    assert student.diffusion.residual_scale == found


def small_run():
    """Two steps on two small scenes."""
    config = default_config()
    config.name = "tiny"
    config.model = {"name": "ddif", **TINY}
    config.data.patch_size = 16
    config.data.crops_per_sample = 4
    config.data.synthetic.update(train_scenes=2, valid_scenes=1, test_scenes=1, size=32)
    config.train.update(objective="diffusion", batch_size=2, steps=2, log_every=2)
    config.train.update(eval_every=2, checkpoint_every=2)
    config.optim.warmup_steps = 1
    config.diffusion.update(**SHORT)
    config.eval.update(batch_size=2, methods=())
    config.mesh.devices = 1
    return config
