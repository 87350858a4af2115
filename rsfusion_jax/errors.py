"""The two exceptions of the project: an error that the user can fix, and an interrupted run."""

from pathlib import Path


class UserError(Exception):
    """A mistake in a file, flag or argument that the user can fix.

    The message is one sentence: the file or argument, its value, the expected value, what to do.
    Command-line entry points print it without a traceback and exit with status 2.
    """


class Interrupted(Exception):
    """Training received a stop signal or lost one of its processes and can be resumed.

    Programs print the message and exit with `RESTART_STATUS`.
    """


RESTART_STATUS = 75
"""Exit status EX_TEMPFAIL of sysexits.h, "try again later": the run is saved and can be resumed.

It differs from the status of an error (1, 2) and of a process that a signal killed before it could
save (137, 143), so that a scheduler or a shell loop can restart exactly the resumable runs."""


def check_name(name: str | Path) -> None:
    """Raise `UserError` for a file's name that some libraries do not take: not UTF-8, or a NUL."""
    readable = str(name).replace("\0", "\\0").encode(errors="backslashreplace").decode()
    if "\0" in str(name):
        raise UserError(f"the name {readable} holds a NUL character; choose another name")
    try:
        str(name).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"the name {readable} is not UTF-8; rename it") from error


def not_a_file(path: str | Path) -> str:
    """Say what is wrong with the path of an input file: it is a folder, or it does not exist."""
    return f"{path} is a folder" if Path(path).is_dir() else f"{path} does not exist"
