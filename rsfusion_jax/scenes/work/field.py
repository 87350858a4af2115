"""The state of a scene that is being drawn, in a file in the output's folder.

A step reads one copy of the state and writes the other, so that no tile sees what its neighbour has
become, and an interrupted step is done again. A checksum is noted after each step: a state that was
damaged meanwhile is drawn anew.
"""

import contextlib
import dataclasses
import json
import math
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from rsfusion_jax.diffusion.noise import noise_part
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.new_files import check_room, open_own, write_text
from rsfusion_jax.runs.stored_json import BadJSONError, read_object
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.work.journal import check_same_run

_PART = 2**24
"""Bytes of the state that are in memory at once for its checksum."""


class Field:
    """State of a draw at every pixel of the frame.

    Planes of C bands each: x_t; the earlier estimates that the sampler takes, newest first; and for
    several draws the mean of the finished ones and the sum of squared deviations from it.

    Args:
        path: path of the file.
        size: (height, width) of the frame.
        bands: C.
        process: diffusion process with its sampler.
        options: options of the run.

    Attributes:
        process, sampler: what draws.
        draws: number of draws.
        steps: steps of one draw.
        bands: C.
        earlier: number of earlier estimates.
        done: steps that are complete, of all draws.
        channels: planes that `read` returns.
    """

    def __init__(self, path: Path, size, bands: int, process: Diffusion, options: Options):
        self._path, self._log = path, path.with_name(path.name + ".json")
        self.process, self.sampler = process, process.make_sampler()
        self._size, self.bands, self.done = size, bands, 0
        self.draws, self.steps = options.draws or 1, len(self.sampler)
        self.earlier = self.sampler.x0.shape[1] - 1
        if process.self_condition == "x0":
            self.earlier = max(self.earlier, 1)
        self.planes = 1 + self.earlier + (2 if self.draws > 1 else 0)
        self._bytes = 4 * math.prod(size) * bands * self.planes
        self.channels = bands * (self.planes + self.sampler.is_random)
        self._key = jax.random.key(options.seed or 0)

    @contextlib.contextmanager
    def opened(self, run: dict, resume: bool) -> Iterator[None]:
        """Opens the file, and deletes it at the end unless the run is interrupted.

        Args:
            run: what the run was started with.
            resume: whether finished steps of an interrupted run count.

        Raises:
            UserError: those are of a run with other options, or the disk has no room.
        """
        resumed = self._recalled() if resume else None
        if resumed is not None:
            self.done = resumed["done"]
            if self._checksum(resumed["run"]) == resumed["crc"]:
                check_same_run(self._log, resumed["run"], run)
            else:
                print(f"notice: {self._path.name} is damaged, drawing begins anew", file=sys.stderr)
                self.done, resumed = 0, None
        if resumed is None:
            check_room(self._path.parent, 2 * self._bytes)
            self._log.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
            with open_own(self._path, "xb") as file:
                file.truncate(2 * self._bytes)
        self._run, interrupted = run, False
        try:
            yield
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            if not interrupted:
                self._path.unlink(missing_ok=True)
                self._log.unlink(missing_ok=True)

    def _recalled(self) -> dict | None:
        """What an interrupted run noted; None where there is none, or its files are damaged."""
        if self._path.is_symlink() or not self._path.is_file():
            return None
        try:
            noted = read_object(self._log.read_bytes(), {"run": dict, "done": int, "crc": int})
        except (OSError, BadJSONError):
            return None
        whole = self._path.stat().st_size == 2 * self._bytes
        return noted if whole and 0 < noted["done"] <= self.draws * self.steps else None

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, channels): the state before the next step and the noise that the step adds."""
        draw, step = divmod(self.done, self.steps)
        first, later = jax.random.split(jax.random.fold_in(self._key, draw))
        part = np.array(self._state()[rows, columns])
        images = [part]
        if step == 0:
            # Before the first step the newest "estimate" is the noise, which stands for none.
            noise = noise_part(first, rows, columns, self.bands)
            images = [noise] * (1 + self.earlier)
            images.append(part[..., self.bands * (1 + self.earlier) :])
        if self.sampler.is_random:
            key = jax.random.split(later, self.steps)[step]
            images.append(noise_part(key, rows, columns, self.bands))
        return np.concatenate(images, axis=-1)

    def write(self, rows: slice, columns: slice, state: np.ndarray) -> None:
        """Stores a part of the state after the step."""
        self._state(1)[rows, columns] = state

    def step_done(self) -> None:
        """Makes the written state the one that the next step reads, in the file too."""
        self.done += 1
        noted = {"run": self._run, "done": self.done, "crc": self._checksum(self._run)}
        write_text(self._log, json.dumps(noted))

    def _checksum(self, run: dict) -> int:
        """CRC of the state now and of the step that it is of."""
        crc, state = zlib.crc32(json.dumps([run, self.done]).encode()), self._state()
        rows = max(1, _PART // state[0].nbytes)
        for row in range(0, len(state), rows):
            crc = zlib.crc32(np.ascontiguousarray(state[row : row + rows]), crc)
        return crc

    def plane(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, C) of the state now."""
        cut = slice(index * self.bands, (index + 1) * self.bands)
        return np.array(self._state()[rows, columns, cut])

    def _state(self, later: int = 0) -> np.memmap:
        """The state `later` steps from now, mapped for each use so that its memory is released."""
        shape = *self._size, self.planes * self.bands
        place = (self.done + later) % 2 * self._bytes
        return np.memmap(self._path, np.float32, "r+", place, shape)


@dataclasses.dataclass(frozen=True)
class Plane:
    """One plane of a field's state, as a field of its own."""

    field: Field
    index: int

    @property
    def channels(self) -> int:
        """C."""
        return self.field.bands

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, C)."""
        return self.field.plane(self.index, rows, columns)
