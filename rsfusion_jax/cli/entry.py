"""How every program of the project starts and how it reports a user's mistake."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from rsfusion_jax.errors import RESTART_STATUS, Interrupted, UserError

_FLAG_ERRORS = (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError, UserError)
"""What absl and ml_collections raise for a bad flag, a misspelt field or a missing config file."""


def run_app(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a program with absl flags: a user's mistake is one sentence and exit status 2."""
    app.run(lambda argv: guarded(main, argv), flags_parser=_parse_flags)


def define_config(default: Path) -> flags.FlagHolder:
    """Defines `--config`, which reads the overrides `--config.field=value` at once.

    Args:
        default: config file used where the flag is not given.
    """
    try:
        return config_flags.DEFINE_config_file("config", str(default), lock_config=True)
    except _FLAG_ERRORS as error:
        _fail(_sentence(error))


def guarded(main: Callable, *args) -> None:
    """Calls `main`; a `UserError` is one line and status 2, `Interrupted` status 75."""
    use_compilation_cache()
    logging.set_verbosity(logging.FATAL)  # orbax tells of every file, and of what it raises
    warnings.showwarning = _show_warning
    try:
        main(*args)
    except UserError as error:
        _fail(error)
    except Interrupted as stop:
        print(stop, file=sys.stderr, flush=True)
        _leave(RESTART_STATUS)
    except Exception:
        traceback.print_exc()
        _leave(1)


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs, where the user has not chosen a place already.

    Small ones too: a network's parameters are drawn by dozens, which are a start's next longest.
    """
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        jax.config.update("jax_compilation_cache_dir", str(home / "rsfusion_jax" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _parse_flags(argv: Sequence[str]) -> list[str]:
    try:
        left_over = flags.FLAGS(argv)
        if "config" in flags.FLAGS:
            flags.FLAGS.config.keys()  # one that could not be loaded says so only when it is read
    except _FLAG_ERRORS as error:
        _fail(_sentence(error))
    if len(left_over) > 1:
        _fail(f"argument {left_over[1]!r} is not understood; flags are written --name=value")
    return left_over


def _sentence(error: Exception) -> str:
    """A flag error in one line; ml_collections wraps its messages in quotes and line breaks."""
    message = str(error)
    if isinstance(error, AttributeError):
        detail = message.strip("'").replace("\\n", ": ").replace("\\", "")
        message = f"the config has no field {detail}"
    return f"{' '.join(message.split())} (see --help)"


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"warning: {message}", file=sys.stderr)


def _fail(message) -> None:
    print(f"error: {message}", file=sys.stderr)
    _leave(2)


def _leave(status: int) -> NoReturn:
    from rsfusion_jax.runs.processes import leave

    leave(status)
