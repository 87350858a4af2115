"""Write the metrics of a run to metrics.jsonl and to trackers, such as TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rsfusion_jax.new_files import write_text
from rsfusion_jax.runs.processes import is_first
from rsfusion_jax.runs.stored_json import BadJSONError, read_object
from rsfusion_jax.training.trackers import open_trackers


class RunLog:
    """Log of the scalars and images of a run; a resumed run appends to it.

    In a run of several processes only the first one writes; calls in the others do nothing.

    Args:
        workdir: the run folder.
        first_step: number of steps already taken; entries of later steps are deleted.
        trackers: names of `trackers.TRACKERS` that get all entries as well.
        config: config of the run, for trackers that show it.
    """

    def __init__(
        self,
        workdir: Path,
        first_step: int,
        trackers: Sequence[str] = ("tensorboard",),
        config: Mapping | None = None,
    ):
        self._path, self._file = workdir / "metrics.jsonl", None
        self._trackers = open_trackers(trackers, workdir, config or {}) if is_first() else []
        self.go_back(first_step)

    def go_back(self, step: int) -> None:
        """Delete the entries of steps after `step`, which will be taken again."""
        if not is_first():
            return
        if self._file is not None:
            self._file.close()
        self._drop_after(step)
        self._file = self._path.open("a")
        for tracker in self._trackers:
            tracker.go_back(step)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write one line of metrics.jsonl, and the values to the trackers."""
        if self._file is None:
            return
        values = {name: float(value) for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for tracker in self._trackers:
            tracker.scalars(step, values)

    def image(self, step: int, name: str, picture: np.ndarray) -> None:
        """Write an RGB image, (H, W, 3) uint8, to the trackers."""
        for tracker in self._trackers:
            tracker.image(step, name, picture)

    def close(self) -> None:
        """Flush and close all logs."""
        if self._file is not None:
            self._file.close()
            for tracker in self._trackers:
                tracker.close()

    def _drop_after(self, step: int) -> None:
        # Steps after the last checkpoint of a killed run are taken again; without this they would
        # appear twice.
        if self._path.exists():
            lines = self._path.read_bytes().splitlines()
            remaining = [line.decode() for line in lines if _step_of(line) <= step]
            write_text(self._path, "".join(f"{line}\n" for line in remaining))


def _step_of(line: bytes) -> float:
    try:
        return read_object(line, {"step": (int, float)})["step"]
    except BadJSONError:
        return np.inf  # incomplete line of a killed run, or a damaged one: it is dropped
