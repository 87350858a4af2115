"""What the parsers of all commands share: spelling of flags, short usage, errors."""

import argparse
import difflib
import re
from collections.abc import Callable, Sequence
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose flags are written with dashes and accepted with underscores."""

    def __init__(
        self, prog: str, arguments: str, more_help: Callable[[], str] | None = None, **options
    ):
        """Create a parser without arguments.

        Args:
            prog: the command as users type it, such as "rsfusion fuse".
            arguments: what the usage line shows after it, such as "PAN MS OUT [options]".
            more_help: returns what --help shows at its end; called only then, since it may import
                much.
            **options: of `argparse.ArgumentParser`.
        """
        super().__init__(prog=prog, usage=f"{prog} {arguments}".rstrip(), **options)
        self.register("type", int, _integer)
        self._more_help = more_help

    def format_help(self) -> str:
        """Return the text of --help."""
        return super().format_help() + ("" if self._more_help is None else self._more_help())

    def parse_args(self, args: Sequence[str], namespace=None) -> argparse.Namespace:
        """Parse all arguments; those that the command does not know end the program."""
        arguments, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.refuse(unknown[0])
        return arguments

    def parse_known_args(self, args: Sequence[str], namespace=None):
        """Parse the arguments that the command knows and return the others after them."""
        for argument in args:
            if "\0" in argument:  # only from Python: no shell hands one on
                self.error(f"argument {argument!r} holds a NUL character; leave it out")
        return super().parse_known_args(_with_dashes(args), namespace)

    def refuse(self, argument: str) -> NoReturn:
        """End the program because of an argument that the command does not know."""
        advice, name = "flags are written --name=value", argument.partition("=")[0]
        if name.startswith("-"):
            for similar in difflib.get_close_matches(name, self._option_string_actions, n=1):
                advice = f"did you mean {similar}?"
        self.error(f"argument {argument!r} is not understood; {advice}")

    def error(self, message: str) -> NoReturn:
        """Print the command's usage and one sentence, and exit with status 2."""
        line = one_line(f"{message} (see {self.prog} --help)")
        self.exit(2, f"{self.format_usage()}error: {line}\n")


class IntermixedParser(Parser):
    """A parser whose images may have flags between them, although their number is open."""

    def parse_args(self, args, namespace=None) -> argparse.Namespace:
        """Parse all arguments; those that the command does not know end the program."""
        arguments, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            self.refuse(unknown[0])
        return arguments


def _integer(text: str) -> int:
    """Read an integer of 32 bits: libraries take no larger ones, and no flag needs them."""
    number = int(text)
    if abs(number) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is too large; give a number below 2**31")
    return number


_integer.__name__ = "int"  # which messages name


def one_line(message) -> str:
    """Return a message in one line that can be printed.

    Names in it may have line breaks, and bytes that are no text.
    """
    return " ".join(str(message).split()).encode(errors="backslashreplace").decode()


def _with_dashes(argv: Sequence[str]) -> list[str]:
    """Return the arguments with `--a_b` spelt `--a-b`.

    Values and the fields of a config (`--config.train.batch_size`) stay as they are, and so does
    everything after `--`.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    names = (re.match(r"--[\w-]+(?==|$)", argument) for argument in argv[:end])
    return [
        argument if name is None else name[0].replace("_", "-") + argument[name.end() :]
        for argument, name in zip(argv, names, strict=False)
    ] + list(argv[end:])
