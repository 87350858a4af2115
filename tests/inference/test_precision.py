"""Matrix products: full float32 precision wherever a network fuses, on every device."""

import re
import types
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.inference.export import export_fuser
from rsfusion_jax.models import init_params
from rsfusion_jax.runs.card import network_card
from rsfusion_jax.runs.checkpoint import Checkpoints
from rsfusion_jax.scenes.work.drawing import DiffusionStep
from rsfusion_jax.scenes.work.engines import network_engine
from rsfusion_jax.scenes.work.program import network_spec
from rsfusion_jax.training import loop

TINY_DDIF = {"inner_channel": 8, "channel_mults": (1,), "attn_res": (), "res_blocks": 1}


def _fuser(name, **fields):
    model = rsf.create_model(name, num_bands=2, **fields)
    return rsf.Fuser(model, {"params": init_params(model, jax.random.key(0))})


def _images(model):
    pan, ms, lms = (1, 16, 16, model.guide_bands), (1, 4, 4, 2), (1, 16, 16, 2)
    return [jnp.zeros(shape) for shape in (pan, ms, lms)]


def _precisions(function, *args) -> set[str]:
    """The precisions of all convolutions and matrix products of a program."""
    text = str(jax.make_jaxpr(function)(*args))
    return set(re.findall(r"(?:conv_general_dilated|dot_general)\[.*?precision=(\S+)", text, re.S))


HIGHEST = {"(Precision.HIGHEST,"}


@pytest.mark.parametrize("name", ["fusionnet", "u2net"])
def test_fuser(name):
    fuser = _fuser(name)
    images = _images(fuser.model)
    plain = _precisions(fuser.model.apply, fuser.variables, *images)
    assert plain == {"None"}  # the network itself leaves the choice to its caller
    assert _precisions(fuser.fuse_unit, *images) == HIGHEST
    engine = network_engine(fuser, network_spec(fuser))
    assert _precisions(engine.call, fuser.variables, *images) == HIGHEST


def test_fuser_of_a_diffusion():
    fuser = _fuser("ddif", **TINY_DDIF)
    pan, ms, lms = _images(fuser.model)
    assert _precisions(fuser.fuse_unit, pan, ms, lms) == HIGHEST
    state = {"variables": fuser.variables, "row": {"t": 3}}
    step = DiffusionStep(
        network_spec(fuser), fuser, types.SimpleNamespace(bands=2, process=fuser.diffusion), state
    )
    noisy = jnp.zeros((1, 16, 16, 2))
    assert _precisions(step._predict, state, pan, ms, lms, noisy) == HIGHEST


def test_export(tmp_path):
    export_fuser(_fuser("fusionnet"), tmp_path / "fuse.rsfusion", tile=16, platforms=("cuda",))
    with zipfile.ZipFile(tmp_path / "fuse.rsfusion") as archive:
        exported = jax.export.deserialize(archive.read("fuse.stablehlo"))
    convolutions = re.findall(r"stablehlo\.convolution.*", exported.mlir_module())
    assert convolutions
    assert all(
        "precision HIGHEST" in c or "<HIGHEST>" in c or "[HIGHEST" in c for c in convolutions
    )


@pytest.mark.parametrize("precision", ["default", "highest"])
def test_training_step(precision, tmp_path, monkeypatch):
    class Stop(Exception):
        pass

    def compiled(self, function, state, batch):
        text = str(jax.make_jaxpr(function)(state, batch))
        found = re.findall(r"conv_general_dilated\[.*?precision=(\S+)", text, re.S)
        raise Stop(set(found))

    config = tiny_config()
    config.train.precision = precision
    monkeypatch.setattr(loop.StepLog, "compile", compiled)
    with pytest.raises(Stop) as stopped:
        loop.train(config, tmp_path / "run")
    assert stopped.value.args[0] == {f"(Precision.{precision.upper()},"}


def test_unknown_precision_is_named(tmp_path):
    config = tiny_config()
    config.train.precision = "half"
    with pytest.raises(rsf.UserError, match="precision='half' must be 'default' or 'high'"):
        loop.train(config, tmp_path / "run")


def test_a_card_with_the_former_field_loads(tmp_path):
    fuser = _fuser("dicnn")
    fields = {"name": "dicnn", "precision": "highest"}
    scale = {"sensor": None, "max_value": 1.0, "ms_phase": 2.0}
    checkpoints = Checkpoints(tmp_path / "run")
    card = network_card(fuser.model, fields, **scale)
    checkpoints.save_best(0, fuser.variables["params"], {**card, "version": "0"}, {})
    checkpoints.close()
    loaded = rsf.load(tmp_path / "run")
    assert loaded.model == fuser.model
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, fuser.variables)
