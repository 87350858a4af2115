"""Where a run's numbers go: metrics.jsonl, TensorBoard, and a bar or plain lines on the screen."""

import json
import sys
import time
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class RunLog:
    """Scalars and pictures of one run, appended to whatever an earlier start of it wrote."""

    def __init__(self, workdir: Path, first_step: int):
        from tensorboardX import SummaryWriter

        self._path = workdir / "metrics.jsonl"
        self._drop_after(first_step)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line of metrics.jsonl and a TensorBoard point per value."""
        values = {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a picture, (H, W, 3) uint8, to TensorBoard."""
        self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes both files."""
        self._file.close()
        self._board.close()

    def _drop_after(self, step: int) -> None:
        # Steps between the last checkpoint and a kill are taken again: they must not stand twice.
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            self._path.write_text("".join(f"{line}\n" for line in kept))


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return np.inf  # a line cut off by a kill


class StepLog:
    """Collects the steps' scalars on the device and writes them in one transfer when asked.

    Fetching every step's loss would make the host wait for the device at each of them.
    """

    def __init__(self, log: RunLog, schedule, batch_size: int):
        self._log, self._schedule, self._batch_size = log, schedule, batch_size
        self._pending: list[tuple[int, dict]] = []
        self._start, self._waited = time.perf_counter(), 0.0
        self.note = ""

    def timed(self, function, *args):
        """Calls a function and counts its time as waiting for data."""
        start = time.perf_counter()
        result = function(*args)
        self._waited += time.perf_counter() - start
        return result

    def add(self, step: int, metrics: dict) -> None:
        """Takes a step's scalars without waiting for them."""
        self._pending.append((step, metrics))

    def flush(self) -> int | None:
        """Writes the mean over the steps since the last flush.

        Returns:
            The first step whose loss is not finite; None if all is well.
        """
        if not self._pending:
            return None
        steps, metrics = zip(*self._pending, strict=True)
        self._pending = []
        metrics = jax.device_get(metrics)
        seconds = time.perf_counter() - self._start
        values = {f"train/{k}": np.mean([m[k] for m in metrics]) for k in metrics[0]}
        values["train/learning_rate"] = float(self._schedule(steps[-1] - 1))
        values["speed/steps_per_second"] = len(steps) / seconds
        values["speed/images_per_second"] = self._batch_size * len(steps) / seconds
        values["speed/data_wait"] = self._waited / seconds
        self._log.scalars(steps[-1], values)
        self._start, self._waited = time.perf_counter(), 0.0
        self.note = f"loss {values['train/loss']:.5f}"
        return next(
            (s for s, m in zip(steps, metrics, strict=True) if not np.isfinite(m["loss"])), None
        )


class ProgressBar:
    """A bar on a terminal; elsewhere (logs, pipes) a plain line for each reported message."""

    def __init__(self, title: str, total: int, done: int = 0):
        self._console = Console(file=sys.stderr)
        self._title, self._total, self._done = title, total, done
        self._bar = None

    def __enter__(self):
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self._console,
            )
            self._bar.start()
            self._task = self._bar.add_task(
                self._title, total=self._total, completed=self._done, note=""
            )
        return self

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()

    def advance(self, note: str | None = None) -> None:
        """One unit done; `note` is shown beside the bar, or as a line where there is no bar."""
        self._done += 1
        if self._bar:
            fields = {} if note is None else {"note": note}
            self._bar.update(self._task, advance=1, **fields)
        elif note is not None:
            print(f"{self._title} {self._done}/{self._total}  {note}", file=sys.stderr, flush=True)
