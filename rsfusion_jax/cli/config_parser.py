"""`--config=RECIPE` and the overrides `--config.field=value`."""

import argparse
from collections.abc import Sequence

from rsfusion_jax.cli.parser import Parser
from rsfusion_jax.errors import UserError


class ConfigParser(Parser):
    """A parser that also reads a run's config; `parse_args` returns it, locked, as `config`."""

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
        except UserError as error:
            self.error(str(error))
        try:
            stray = _override(arguments.config, overrides)
        except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
            self.error(_sentence(error))
        if stray:
            self.refuse(stray[0])
        return arguments


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
