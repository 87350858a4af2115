"""Values that no run can have are refused by name, before a run folder exists."""

import math

import pytest
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.loop import train
from rsfusion_jax.training.ranges import RULES, check_ranges
from rsfusion_jax.training.recipes import list_recipes, load_recipe

WRONG = {
    "seed": -3,
    "data.max_value": -1.0,
    "data.synthetic.size": 10**6,
    "data.workers": -2,
    "eval.batch_size": 0,
    "mesh.shard_params_over": 0,
    "model.num_bands": 5,
    "model.ratio": 2,
    "optim.clip_norm": -math.inf,
    "optim.final_rate": math.nan,
    "optim.gamma": 0.0,
    "optim.learning_rate": math.nan,
    "optim.milestones": (3, "b"),
    "optim.step_epochs": 0,
    "train.checkpoint_every": -1,
    "train.dtype": "float8",
    "train.ema_decay": 1.0,
    "train.log_every": 0,
    "train.on_bad_loss": "hope",
    "train.precision": "some",
    "train.spike": 0.5,
    "train.steps": 10**20,
}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named(tmp_path, field):
    config = default_config()
    *groups, name = field.split(".")
    group = config
    for part in groups:
        group = group[part]
    with group.unlocked(), group.ignore_type():
        group[name] = WRONG[field]
    with pytest.raises(rsf.UserError, match=rf"^{field}(=| cannot)"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda config: config.__delattr__("eval"), "has no field eval; begin its file with"),
        (lambda config: config.optim.__delattr__("gamma"), r"has no field optim\.gamma;"),
        (lambda config: config.__setattr__("train", "fast"), "has no field train;"),
        (lambda config: config.train.update(epoch=3), r"train\.epoch, .*mean train\.epochs\?"),
        (lambda config: config.update(note="x"), "has a field note, which no run reads; leave it"),
    ],
)
def test_fields_that_are_missing_or_none(tmp_path, change, said):
    config = default_config()
    with config.ignore_type():
        change(config)
    with pytest.raises(rsf.UserError, match=said):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"train.full_resolution": 0.5}, "needs PAN at full resolution"),
        ({"train.objective": "diffusion"}, "needs a diffusion network"),
        (
            {"train.objective": "deep_supervision", "train.loss": "l1"},
            "needs a network with stages",
        ),
        ({"train.objective": "any_camera", "train.loss": "of_exp"}, "without units"),
        ({"model": {"name": "ddif"}}, "fuses in one pass"),
    ],
)
def test_an_objective_that_does_not_fit(tmp_path, others, said):
    config = tiny_config()
    config.data.valid = config.data.test = ""
    for path, value in others.items():
        group = config[path.partition(".")[0]] if "." in path else config
        group[path.rpartition(".")[2]] = value
    with pytest.raises(rsf.UserError, match=said):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_rule_is_of_a_field():
    fields = default_config().to_dict()
    for path in RULES:
        group = fields
        for part in path.split("."):
            group = group[part]


def test_every_recipe_is_within_the_ranges():
    for recipe in list_recipes():
        try:
            config = load_recipe(recipe)
        except (TypeError, rsf.UserError):
            config = load_recipe(f"{recipe}:wv3")
        check_ranges(config)
