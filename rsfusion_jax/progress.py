"""A progress bar on a terminal, plain lines elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

MEGAPIXELS = "MP", 1e6
"""Unit of work that is counted in pixels."""
_LINES = 10
"""Lines printed per bar where there is no terminal and no notes are given."""


class ProgressBar:
    """Progress of one stage of work; a context manager.

    On a terminal it draws a bar. In logs and pipes it prints a line with every note or, where the
    caller gives none, a line at every tenth of the work.

    Args:
        title: name of the stage.
        total: amount of work in the caller's unit.
        done: amount done before, by an interrupted run.
        unit: (name, size) of the unit in which the speed is shown, such as
            `MEGAPIXELS`; None shows no speed.
        quiet: whether to print nothing.
    """

    def __init__(
        self,
        title: str,
        total: int,
        done: int = 0,
        *,
        unit: tuple[str, float] | None = None,
        quiet: bool = False,
    ):
        self._title, self._total, self._done = title, max(total, 1), done
        self._unit, self._quiet = unit, quiet
        self._first, self._begin = done, time.perf_counter()
        self._lines = done * _LINES // self._total
        self._bar = None

    def __enter__(self):
        # Not the console's own answer: where FORCE_COLOR is set, as in notebooks and builds, it
        # takes a pipe for a terminal, and every change of the bar becomes a line.
        if sys.stderr.isatty() and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(file=sys.stderr),
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._title, total=self._total, completed=self._done, note=""
            )
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def advance(self, amount: int = 1, note: str | None = None) -> None:
        """Reports work done since the last call.

        Args:
            amount: amount of work, in the unit of `total`.
            note: shown beside the bar, or printed as a line of its own where there is no terminal.
        """
        self.move_to(self._done + amount, note)

    def move_to(self, done: int, note: str | None = None) -> None:
        """Reports the work done in all, which may be less than before; otherwise as `advance`."""
        self._done = done
        if self._quiet:
            return
        speed = "" if self._unit is None else self._speed()
        if self._bar:
            shown = " ".join(part for part in (speed, note) if part)
            fields = {"note": shown} if shown else {}
            self._bar.update(self._task, completed=self._done, **fields)
        elif note is not None:
            self._print(f"{self._done}/{self._total}  {note}")
        elif self._unit is not None and self._done * _LINES // self._total > self._lines:
            self._lines = self._done * _LINES // self._total
            self._print(f"{self._done / self._total:.0%}, {speed}, {self._left()}")

    def _print(self, text: str) -> None:
        print(f"{self._title} {text}", file=sys.stderr, flush=True)

    def _seconds(self) -> float:
        return max(time.perf_counter() - self._begin, 1e-9)

    def _speed(self) -> str:
        name, size = self._unit
        return f"{(self._done - self._first) / self._seconds() / size:.1f} {name}/s"

    def _left(self) -> str:
        rate = max(self._done - self._first, 1) / self._seconds()
        return f"{(self._total - self._done) / rate:.0f} s left"
