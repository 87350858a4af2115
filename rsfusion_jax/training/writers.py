"""Where a run's numbers go: metrics.jsonl, TensorBoard, and a bar or plain lines on the screen."""

import json
from pathlib import Path

import numpy as np

from rsfusion_jax.runs.processes import is_first


class RunLog:
    """Scalars and pictures of one run, appended to whatever an earlier start of it wrote.

    In a run of several processes the first one writes, the others' calls do nothing.
    """

    def __init__(self, workdir: Path, first_step: int):
        self._path, self._boards = workdir / "metrics.jsonl", workdir / "tensorboard"
        self._file = self._board = None
        self.go_back(first_step)

    def go_back(self, step: int) -> None:
        """Drops what was written of later steps: they are taken again."""
        if not is_first():
            return
        from tensorboardX import SummaryWriter

        self.close()
        self._drop_after(step)
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(self._boards), purge_step=step + 1)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Writes one line of metrics.jsonl and a TensorBoard point per value."""
        if self._file is None:
            return
        values = {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Writes a picture, (H, W, 3) uint8, to TensorBoard."""
        if self._board is not None:
            self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes both files."""
        if self._file is not None:
            self._file.close()
            self._board.close()

    def _drop_after(self, step: int) -> None:
        # Steps between the last checkpoint and a kill are taken again: they must not stand twice.
        if self._path.exists():
            lines = self._path.read_text().splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            unfinished = self._path.with_suffix(".tmp")
            unfinished.write_text("".join(f"{line}\n" for line in kept))
            unfinished.replace(self._path)


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError):
        return np.inf  # a line cut off by a kill
