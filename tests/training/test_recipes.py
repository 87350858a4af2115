"""Recipes by name and by file, and what a user's own file can import."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from configs import u2net
from rsfusion_jax.errors import UserError
from rsfusion_jax.models import list_models
from rsfusion_jax.training.config import default_config
from rsfusion_jax.training.recipes import RECIPES, list_recipes, load_recipe

ROOT = Path(__file__).resolve().parents[2]


def test_by_name_and_by_path():
    assert {*list_models(), "default", "small"} < set(list_recipes())
    assert not {"data_sets", "dlpan", "rsmif", "__init__"} & set(list_recipes())
    expected = u2net.get_config("qb").to_dict()
    for recipe in ("u2net:qb", f"{RECIPES / 'u2net.py'}:qb"):
        assert load_recipe(recipe).to_dict() == expected
    assert load_recipe("u2net").to_dict() == u2net.get_config().to_dict()
    assert load_recipe("default").to_dict() == default_config().to_dict()


def test_a_copy_of_the_folder_uses_its_own_neighbours(tmp_path):
    for path in RECIPES.glob("*.py"):
        text = path.read_text().replace("training_{data_set}/train_", "elsewhere/train_")
        (tmp_path / path.name).write_text(text)
    assert load_recipe(f"{tmp_path}/u2net.py:wv3").data.train == "elsewhere/train_wv3.h5"
    assert load_recipe("u2net:wv3").data.train == "training_wv3/train_wv3.h5"


def test_files_without_a_config(tmp_path):
    (tmp_path / "mine.py").write_text("config = 1\n")
    with pytest.raises(UserError, match=r"mine.py defines no get_config\(\)"):
        load_recipe(f"{tmp_path}/mine.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\nraise KeyError('a\\nb')\n", r"mine\.py, line 2: KeyError: .*; correct the file$"),
        ("\n\nimport no_such_module\n", r"mine\.py, line 3: ModuleNotFoundError: No module named"),
        ("def get_config(:\n", r"mine\.py, line 1: SyntaxError: invalid syntax; correct the file$"),
        ("def get_config():\n    return open('gone.txt')\n", r"line 2: FileNotFoundError: .*gone"),
        ("import sys\ndef get_config():\n    sys.exit(3)\n", r"line 3: SystemExit: 3; correct the"),
        ("def get_config():\n    return {'seed': 1}\n", r"mine\.py returns dict; return a Config"),
    ],
)
def test_errors_of_own_files_are_one_sentence(text, message, tmp_path):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        load_recipe(f"{tmp_path}/mine.py")
    assert "\n" not in str(caught.value)


def test_an_argument_without_a_recipe():
    with pytest.raises(UserError, match="--config=:wv3 names no recipe before its argument"):
        load_recipe(":wv3")


@pytest.mark.parametrize("package", ["configs", "rsfusion_jax.configs"])
def test_own_files_import_recipes_where_no_clone_is_on_the_path(package, tmp_path):
    """As after an installation: `rsfusion_jax` can be imported, a top-level `configs` cannot."""
    (tmp_path / "mine.py").write_text(
        f"from {package} import default, u2net\n"
        "def get_config(name):\n"
        "    config = u2net.get_config('qb')\n"
        "    config.update(name=name, seed=default.get_config().seed)\n"
        "    return config\n"
    )
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import rsfusion_jax; sys.path.pop(0)\n"
        "from rsfusion_jax.training.recipes import load_recipe\n"
        "print(load_recipe('mine.py:own').to_json())"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(ROOT)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "", "JAX_PLATFORMS": "cpu"},
    )
    assert done.returncode == 0, done.stderr
    config = json.loads(done.stdout)
    assert (config["name"], config["seed"], config["data"]["sensor"]) == ("own", 0, "qb")
