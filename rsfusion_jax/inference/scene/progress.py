"""Megapixels done, per second, and how long it will take."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_LINES = 10
"""Lines printed per stage where there is no terminal."""


class Stage:
    """A bar on a terminal, a line every tenth part elsewhere, and nothing where `quiet`."""

    def __init__(self, title: str, total: int, done: int = 0, quiet: bool = False):
        self._title, self._total, self._done, self._quiet = title, max(total, 1), done, quiet
        self._first, self._begin = done, time.perf_counter()
        self._told = done * _LINES // self._total
        self._bar = None

    def __enter__(self):
        console = Console(file=sys.stderr)
        if console.is_terminal and not self._quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:3.0f} %"),
                TextColumn("{task.fields[note]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._title, total=self._total, completed=self._done, note=""
            )
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def advance(self, pixels: int) -> None:
        """So many more PAN pixels are done."""
        self._done += pixels
        seconds = max(time.perf_counter() - self._begin, 1e-9)
        speed = (self._done - self._first) / seconds
        if self._bar:
            self._bar.update(self._task, advance=pixels, note=f"{speed / 1e6:.1f} MP/s")
        elif not self._quiet and self._done * _LINES // self._total > self._told:
            self._told = self._done * _LINES // self._total
            left = (self._total - self._done) / max(speed, 1e-9)
            print(
                f"{self._title} {self._done / self._total:.0%}  {speed / 1e6:.2f} MP/s, "
                f"{left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
