"""How every command starts and how it reports a user's mistake."""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from absl import logging

from rsfusion_jax.errors import RESTART_STATUS, Interrupted, UserError


def guarded(main: Callable, *args) -> None:
    """Calls `main`; a `UserError` is one line and status 2, `Interrupted` status 75."""
    use_compilation_cache()
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"  # an image must not bring code along
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
    What jax traced is kept beside them.
    """
    import jax

    from rsfusion_jax import traced

    if jax.config.jax_compilation_cache_dir is None:
        home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        folder = home / "rsfusion_jax" / "xla"
        programs = folder.parent / "traced"
        with contextlib.suppress(OSError):  # then jax goes without, and says so
            for path in (folder, programs):
                path.mkdir(parents=True, exist_ok=True)
                path.chmod(0o700)  # what lies there is executed: nobody else may write it
            traced.keep_in(programs)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"warning: {message}", file=sys.stderr)


def _fail(message) -> None:
    print(f"error: {message}", file=sys.stderr)
    _leave(2)


def _leave(status: int) -> NoReturn:
    from rsfusion_jax.runs.processes import leave

    leave(status)
