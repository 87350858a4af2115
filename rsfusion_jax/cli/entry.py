"""How every command starts and how it reports a user's mistake."""

import os
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from absl import logging

from rsfusion_jax.cli.parser import one_line
from rsfusion_jax.errors import RESTART_STATUS, Interrupted, UserError


def guarded(main: Callable, *args) -> None:
    """Call `main`; a mistake of the user is one line and status 2, `Interrupted` status 75.

    What the machine lacks, such as a right, a file, room on a disk or memory, is said in one line
    too, wherever it was missed.
    """
    _print_any_name()
    use_compilation_cache()
    os.environ["GDAL_VRT_ENABLE_PYTHON"] = "NO"  # an image must not bring code along
    logging.set_verbosity(logging.FATAL)  # orbax tells of every file, and of what it raises
    warnings.showwarning = _show_warning
    _ignore_leftovers()
    try:
        main(*args)
    except UserError as error:
        _fail(error)
    except Interrupted as stop:
        print(stop, file=sys.stderr, flush=True)
        _leave(RESTART_STATUS)
    except MemoryError as error:
        _fail(f"this takes more memory than there is ({error}); give smaller images or sets")
    except Exception as error:
        if isinstance(error, OSError) and error.strerror and error.filename is not None:
            name = os.fsdecode(error.filename)
            _fail(f"{name[:200]}: {error.strerror}; check the name, its rights and its disk's room")
        traceback.print_exc()
        _leave(1)


def _print_any_name() -> None:
    """Let names that are no text be printed, with their bytes as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # notebooks have streams of their own
            stream.reconfigure(errors="backslashreplace")


def _ignore_leftovers() -> None:
    """Say nothing of errors that reach no caller, as libraries leave behind.

    Of a damaged checkpoint's arrays the first raises; the others fail later, in threads of
    TensorStore or when their memory is freed, and would print tracebacks around the sentence.
    """

    def of_this_program(*error):
        if threading.current_thread() is threading.main_thread():
            sys.__excepthook__(*error)

    sys.excepthook = of_this_program
    sys.unraisablehook = lambda unraisable: None


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
        if not all(_is_own(path) for path in (folder.parent, folder, programs)):
            return
        traced.keep_in(programs)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def _is_own(folder: Path) -> bool:
    """Make a folder that nobody else may enter: what lies there is executed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)  # fails in another user's folder
    except OSError:
        return False
    return True


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"warning: {message}", file=sys.stderr)


def _fail(message) -> NoReturn:
    # What libraries left unfinished is noticed when memory is freed, and would follow the sentence.
    warnings.simplefilter("ignore")
    print(f"error: {one_line(message)}", file=sys.stderr)
    _leave(2)


def _leave(status: int) -> NoReturn:
    from rsfusion_jax.runs.processes import leave

    leave(status)
