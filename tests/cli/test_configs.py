"""Every network has a recipe, and every recipe takes every data set."""

import importlib

import pytest

from configs import data_sets, default, small
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import create_model, list_models
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule


def _check(config, name):
    """All its fields exist, and what they name is there."""
    plain = default.get_config()
    for section in ("data", "train", "optim", "eval", "mesh"):
        assert set(config[section]) == set(plain[section])
    fields = config.model.to_dict()
    assert fields["name"] == name
    create_model(**fields, num_bands=4)
    make_objective(config.train.objective, config.train.loss)
    steps = config.train.steps or 100 * config.train.epochs
    make_optimizer(config.optim, make_schedule(config.optim, steps, 100))


@pytest.mark.parametrize("data_set", data_sets.names())
@pytest.mark.parametrize("name", list_models())
def test_recipe(name, data_set):
    recipe = importlib.import_module(f"configs.{name}")
    _check(recipe.get_config(data_set), name)


@pytest.mark.parametrize("name", small.WIDTHS)
def test_small_width(name):
    _check(small.get_config(name), name)


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match=r"data set 'wv9'; choose one of .*wv3"):
        importlib.import_module("configs.u2net").get_config("wv9")
    with pytest.raises(UserError, match=r"network 'unet'; choose one of .*u2net"):
        small.get_config("unet")
