"""The one exception that means "the user can mend this"."""


class UserError(Exception):
    """A mistake in a file, flag or argument that the user can mend.

    The message is one sentence: what was named, what was found, what was expected, what to do.
    Command-line entry points print it without a traceback and exit with status 2.
    """
