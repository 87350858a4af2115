"""Exceptions with a meaning of their own: the user can mend this; start this again."""


class UserError(Exception):
    """A mistake in a file, flag or argument that the user can mend.

    The message is one sentence: what was named, what was found, what was expected, what to do.
    Command-line entry points print it without a traceback and exit with status 2.
    """


class Interrupted(Exception):
    """Training was asked to stop, or lost one of its processes, and waits to be started again.

    Programs print the message and exit with `RESTART_STATUS`.
    """


RESTART_STATUS = 75
"""EX_TEMPFAIL of sysexits.h, "try again later": everything needed to go on is saved. It differs
from an error (1, 2) and from a process that a signal ended before it could save (137, 143), so that
a scheduler or a shell loop can start exactly these runs again."""
