"""Find and load recipes: Python files with a function `get_config`, packaged or a user's own."""

import contextlib
import importlib.machinery
import importlib.util
import inspect
import re
import sys
import traceback
from pathlib import Path

import ml_collections

from rsfusion_jax.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]
RECIPES = next(
    folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir()
)
"""The folder of the recipes: in the installed package, or at the top of a clone."""


def list_recipes() -> list[str]:
    """Return the names that `load_recipe` knows, sorted."""
    return sorted(
        path.stem for path in RECIPES.glob("*.py") if "\ndef get_config(" in path.read_text()
    )


def load_recipe(recipe: str) -> ml_collections.ConfigDict:
    """Return the config of a recipe.

    Args:
        recipe: name of a packaged recipe ("u2net") or path of a file ("mine.py", "a/b.py") that
            defines `get_config`; followed by a colon and its argument where it takes one, such as
            a data set ("u2net:wv3").

    Returns:
        What `get_config` of that file returns.

    Raises:
        UserError: the recipe or file does not exist, or does not take this argument.
    """
    path, argument = _find(recipe)
    with _errors_of(path):
        module = _import_file(path)
    if not hasattr(module, "get_config"):
        raise UserError(f"{path} defines no get_config(); name a recipe, one of {_listed()}")
    if argument is not None and not inspect.signature(module.get_config).parameters:
        raise UserError(f"recipe {path.stem!r} takes no argument; leave out ':{argument}'")
    with _errors_of(path):
        config = module.get_config() if argument is None else module.get_config(argument)
    if not isinstance(config, ml_collections.ConfigDict):
        raise UserError(
            f"get_config() of {path} returns {type(config).__name__}; return a ConfigDict, as "
            "rsfusion_jax.training.config.default_config() does"
        )
    return config


@contextlib.contextmanager
def _errors_of(path: Path):
    """Turn any error inside a config file into one sentence that names the line."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if Path(f.filename).resolve() == path.resolve()]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        where = f"{path}, line {line}" if line else str(path)
        message = " ".join(str(getattr(error, "msg", error)).split()) or "no message"
        raise UserError(
            f"config file {where}: {type(error).__name__}: {message}; correct the file"
        ) from error


def _find(recipe: str) -> tuple[Path, str | None]:
    """Return the file of a recipe and the argument after the colon."""
    match = re.fullmatch(r"(.*\.py)(?::(.*))?", recipe, re.DOTALL)
    if match:
        path = Path(match[1])
        if not path.is_file():
            raise UserError(f"config file {path} does not exist; name a file or one of {_listed()}")
        return path, match[2]
    name, colon, argument = recipe.partition(":")
    if not name:
        raise UserError(
            f"--config={recipe} names no recipe before its argument; choose one of {_listed()}"
        )
    if name not in list_recipes():
        raise UserError(
            f"recipe {name!r} is unknown; choose one of {_listed()}, or the path of a .py file"
        )
    return RECIPES / f"{name}.py", argument if colon else None


def _listed() -> str:
    return ", ".join(list_recipes())


def _import_file(path: Path):
    """Import a file as a module of a package made from its folder.

    A recipe in any folder can therefore import its neighbours (`from . import data_sets`). A user's
    own file can also import the packaged recipes, as `rsfusion_jax.configs` or, as in a clone of
    the repository, as `configs`.
    """
    _make_package("rsfusion_jax.configs", RECIPES)
    if importlib.util.find_spec("configs") is None:
        _make_package("configs", RECIPES)
    folder = path.resolve().parent
    package, stem = (re.sub(r"\W", "_", part) for part in (f"recipes{folder}", path.stem))
    _make_package(package, folder)
    name = f"{package}.{stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _make_package(name: str, folder: Path) -> None:
    """Make a folder importable as the package `name`."""
    if name not in sys.modules:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        sys.modules[name] = importlib.util.module_from_spec(spec)
