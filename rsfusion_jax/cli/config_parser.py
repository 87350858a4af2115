"""`--config=RECIPE` and the overrides `--config.field=value`."""

import argparse
import copy
import re
from collections.abc import Sequence

from rsfusion_jax.cli.parser import Parser
from rsfusion_jax.errors import UserError

_WORD = re.compile(r"[A-Za-z_]\w*")
"""An entry of a list that is a name, and needs quotes in Python."""


class ConfigParser(Parser):
    """A parser that also reads a run's config.

    `parse_args` returns it, locked, as `config`, and as `recipe` what it was before fields of it
    were set.
    """

    def __init__(self, *args, **options):
        """Create a parser with the argument `--config`; arguments as of `Parser`."""
        super().__init__(*args, **options)
        self.add_argument(
            "--config",
            default="default",
            metavar="RECIPE[:ARGUMENT]",
            help="name of a recipe with its argument, such as u2net:wv3, or path of a .py file; "
            "default the quickstart; --config.FIELD=VALUE sets a field of it",
        )

    def parse_args(self, args: Sequence[str], namespace=None) -> argparse.Namespace:
        """Parse all arguments, load the config and set the fields that are overridden."""
        from absl import flags

        from rsfusion_jax.training.recipes import load_recipe

        arguments, overrides = self.parse_known_args(args, namespace)
        for argument in overrides:
            if argument.startswith("-") and not argument.startswith(("--config.", "--noconfig.")):
                self.refuse(argument)
        try:
            arguments.config = load_recipe(arguments.config)
            arguments.recipe = copy.deepcopy(arguments.config)
            overrides = _set_records(arguments.config, overrides)
            overrides = [_quoted_words(arguments.config, argument) for argument in overrides]
        except UserError as error:
            self.error(str(error))
        except OSError as error:  # a name that is too long, say
            self.error(f"{str(error.filename)[:200]}: {error.strerror}; check the name")
        try:
            stray = _override(arguments.config, overrides)
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            self.error(_sentence(error))
        if stray:
            self.refuse(stray[0])
        return arguments


def _set_records(config, overrides: Sequence[str]) -> list[str]:
    """Set the fields that hold a record, and return the other arguments.

    `ml_collections` overrides no dictionaries; their values are JSON text or a .json file.
    """
    from rsfusion_jax.sensors import read_record

    others, arguments = [], iter(overrides)
    for argument in arguments:
        name, equals, value = argument.partition("=")
        place = _record_field(config, name)
        if place is None:
            others.append(argument)
            continue
        parent, field, inner = place
        if inner:
            raise UserError(
                f"{name} cannot be set alone; give the whole record, --config.data.{field}="
                "sensor.json or its text"
            )
        value = value if equals else next(arguments, "")
        parent[field] = read_record(value)
    return others


def _quoted_words(config, argument: str) -> str:
    """Return an argument whose value `a,b` of a list of words is spelled as Python's, ('a', 'b').

    `ml_collections` reads `a,b` as one word.
    """
    name, equals, value = argument.partition("=")
    words = value.split(",")
    place = _field(config, name, tuple)
    if place is None or len(words) == 1 or not all(map(_WORD.fullmatch, words)):
        return argument
    return f"{name}{equals}{tuple(words)!r}"


def _record_field(config, name: str):
    """(its parent, its name, names below it) of the record that an argument sets; None."""
    return _field(config, name, dict)


def _field(config, name: str, kind: type):
    """(its parent, its name, names below it) of the field of a type that an argument names; None.

    The argument may go on below the field's own name.
    """
    from ml_collections import ConfigDict

    node, (root, *path) = config, name.removeprefix("--").split(".")
    if root != "config":
        return None
    for depth, field in enumerate(path):
        if not isinstance(node, ConfigDict) or field not in node:
            return None
        if node.get_type(field) is kind:
            return node, field, path[depth + 1 :]
        node = node[field]
    return None


def _override(config, overrides: Sequence[str]) -> list[str]:
    """Lock a config, set the fields that are overridden, and return the other arguments."""
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    argv = ["config", *overrides]
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    return values(argv)[1:]


def _sentence(error: Exception) -> str:
    """Return the message of a field's error in one line, without ml_collections' quotes."""
    message = str(error)
    if isinstance(error, AttributeError):
        name, _, advice = message.replace("\\", "").strip("'\"").partition("nDid you")
        name, advice = name.strip("'"), advice and f"did you{advice}"
        message = f"the config has no field {name!r}" + (f": {advice}" if advice else "")
    return " ".join(message.split())
