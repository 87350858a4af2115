"""A scene drawn by a diffusion network, in bounded memory.

The noisy residual of the whole scene and what the sampler remembers lie in a file beside the
output. A step of the sampler goes over the scene block by block, as fusing does: tiles are denoised
and blended (`diffusion.tiles` says why), and the sampler moves each block. A step reads one copy of
the file's state and writes the other, so that no tile sees what its neighbour has become, and an
interrupted step is done again.
"""

import contextlib
import dataclasses
import functools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.diffusion.noise import noise_part
from rsfusion_jax.diffusion.process import clip_x0
from rsfusion_jax.diffusion.sampling import move, table
from rsfusion_jax.errors import UserError
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.geometry import Scene
from rsfusion_jax.scenes.work import memory
from rsfusion_jax.scenes.work.engines import Engine, tiling, traits
from rsfusion_jax.scenes.work.journal import check_room, check_same_run
from rsfusion_jax.scenes.work.loop import Ahead


class Field:
    """State of a draw at every pixel of the frame: what a step reads, and where the next one is.

    Planes of C bands each: x_t; the earlier estimates that the sampler takes, newest first; and for
    several draws the mean of those that are done and the sum of squared deviations from it.

    Attributes:
        draws: how many.
        steps: of one draw.
        bands: C.
        done: steps that are complete, of all draws.
        channels: that `read` gives.
    """

    def __init__(self, path: Path, size, bands: int, process: Diffusion, options: Options):
        self._path, self._log = path, path.with_name(path.name + ".json")
        self.sampler = process.make_sampler()
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
            resume: whether steps that are done are kept.

        Raises:
            UserError: they are of a run with other options, or the disk has no room.
        """
        if resume and self._path.exists() and self._log.exists():
            found = json.loads(self._log.read_text())
            check_same_run(self._log, found["run"], run)
            self.done = found["done"]
        else:
            check_room(self._path.parent, 2 * self._bytes)
            self._log.unlink(missing_ok=True)
            with self._path.open("wb") as file:
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
        """Keeps a part of the state after the step."""
        self._state(1)[rows, columns] = state

    def step_done(self) -> None:
        """The state that was written is the next one's; in the file, too."""
        self.done += 1
        new = self._log.with_name(self._log.name + ".new")
        new.write_text(json.dumps({"run": self._run, "done": self.done}))
        new.replace(self._log)

    def plane(self, index: int, rows: slice, columns: slice) -> np.ndarray:
        """(h, w, C) of the state now."""
        cut = slice(index * self.bands, (index + 1) * self.bands)
        return np.array(self._state()[rows, columns, cut])

    def _state(self, later: int = 0) -> np.memmap:
        """The state after so many steps more. Mapped for each use: what was read is let go."""
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


@dataclasses.dataclass(frozen=True)
class Denoiser(Engine):
    """A step of a sampler on windows.

    Attributes:
        model: the network.
        process: with the sampler.
    """

    model: Any = None
    process: Any = None

    def run(self, state, batch: dict):
        """State (B, P, Q, planes C) after the step; arguments as of `Engine.run`.

        `state` holds the network's variables and the step's row of the sampler's table, with the
        number of the draw from 1 and whether this step is its last.
        """
        row, field, bands = state["row"], self.field, self.num_bands
        prediction, lms = self.fuse(state, batch)
        images = jnp.split(batch["field"], self.field.channels // bands, axis=-1)
        x, earlier = images[0], images[1 : 1 + field.earlier]
        noise = images[-1] if field.sampler.is_random else None
        clips = self.process.sampler == "ddpm"
        clip = functools.partial(clip_x0, lms=lms) if clips else None
        predicts = self.model.predicts
        x, x0 = move(row, x, prediction, earlier, noise, predicts=predicts, clip=clip)
        x = jnp.where(row["last"], clip_x0(x, lms), x)
        planes = [x, *(x0, *earlier)[: field.earlier]]
        if field.draws > 1:
            mean, squares = images[1 + field.earlier : 3 + field.earlier]
            # B. P. Welford, Technometrics 4, 1962.
            nearer = mean + (x - mean) / row["number"]
            squares = squares + jnp.where(row["last"], (x - mean) * (x - nearer), 0)
            planes += [jnp.where(row["last"], nearer, mean), squares]
        return jnp.concatenate(planes, axis=-1)


def denoiser(fuser, options: Options) -> Denoiser:
    """The engine of a diffusion network.

    Raises:
        UserError: options that the sampler or the tiles do not take, or shards.
    """
    model = fuser.model
    if options.shard[1] > 1:
        raise UserError(
            f"--shard={options.shard[0]}/{options.shard[1]}: a diffusion network draws a scene's "
            "tiles together, step by step; fuse it in one process"
        )
    process = fuser.diffusion.replaced(options.sampler, options.steps)
    return Denoiser(
        **traits(fuser),
        **tiling(model, math.lcm(model.ratio, 2), options.tile, options.overlap),
        call=functools.partial(_predict, model, process.self_condition == "x0"),
        state=fuser.variables,
        model=model,
        process=process,
    )


def draw_scene(engine: Denoiser, scene: Scene, budget: int, options: Options) -> Engine:
    """Draws the residual of a scene, as far as it is not there yet.

    Args:
        engine: with its field, opened.
        scene: the pair.
        budget: bytes of memory.
        options: of the run.

    Returns:
        The engine that adds the residual to `lms`: the mean of the draws, where they are several.
    """
    field = engine.field
    # Tiles reach to the end of the frame: all of it is drawn, whatever is written in the end.
    spans = (
        dataclasses.replace(span, start=span.frame, size=span.length)
        for span in (scene.rows, scene.columns)
    )
    rows = _rows(engine)
    if field.done < len(rows):
        _draw(engine, Scene(scene.pan, scene.ms, *spans), rows, budget, options)
    plane = 0 if field.draws == 1 else 1 + field.earlier
    kept = {f.name: getattr(engine, f.name) for f in dataclasses.fields(Engine)}
    local = {"call": _add, "state": {}, "reach": 0, "tile": None, "stride": 0}
    return Engine(**{**kept, **local, "field": Plane(field, plane)})


def _draw(engine: Denoiser, frame: Scene, rows: list[dict], budget: int, options: Options) -> None:
    field, area = engine.field, math.prod(frame.size)
    engine = dataclasses.replace(engine, state={"variables": engine.state, "row": rows[0]})
    plan = memory.plan(engine, frame, budget, options.block, options.batch)
    with ProgressBar(
        "drawing", len(rows) * area, field.done * area, unit=MEGAPIXELS, quiet=options.quiet
    ) as stage:
        try:
            while field.done < len(rows):
                _step({**engine.state, "row": rows[field.done]}, plan, field, stage)
        except KeyboardInterrupt:
            print(
                f"interrupted after {field.done} of {len(rows)} steps, nothing is written yet; "
                "--resume goes on from there, without it the scene begins anew",
                file=sys.stderr,
            )
            raise


def _step(state, plan: memory.Plan, field: Field, stage: ProgressBar) -> None:
    """Moves the whole field by one step."""
    windows, batch = plan.windows, plan.batch
    reader, writer = Ahead(workers=2, depth=2), Ahead(workers=1, depth=2)
    state = jax.device_put(state)
    groups = [windows.blocks[i : i + batch] for i in range(0, len(windows.blocks), batch)]

    def read(blocks):
        samples = [windows.read(block)[0] for block in blocks]
        samples += samples[-1:] * (batch - len(samples))
        return blocks, {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}

    def keep(blocks, moved):
        for block, image in zip(blocks, np.asarray(moved), strict=False):
            cuts = block.rows, block.columns
            place = (slice(c.begin + c.core, c.begin + c.core + c.size) for c in cuts)
            field.write(*place, image[block.core])
            stage.advance(block.rows.size * block.columns.size)

    try:
        for blocks, stacked in reader.map(read, groups):
            writer.put(keep, blocks, plan.run(state, stacked))
        writer.drain()
    finally:
        reader.close()
        writer.close()
    field.step_done()


def _rows(engine: Denoiser) -> list[dict]:
    """What each step of each draw needs to know."""
    field = engine.field
    steps = table(field.sampler, engine.process.timestep_index, jnp.float32)
    return [
        {name: np.asarray(values[step]) for name, values in steps.items()}
        | {"number": np.float32(draw + 1), "last": np.bool_(step + 1 == field.steps)}
        for draw in range(field.draws)
        for step in range(field.steps)
    ]


@jax.default_matmul_precision("highest")
def _predict(model, sees_itself: bool, state, pan, ms, lms, field):
    """The network on tiles, with its newest estimate where it shall see one."""
    bands = model.num_bands
    x_self = field[..., bands : 2 * bands] if sees_itself else None
    t = jnp.full(len(pan), state["row"]["t"])
    return model.apply(state["variables"], field[..., :bands], t, pan, lms, x_self)


def _add(state, pan, ms, lms, residual):
    return jnp.clip(lms + residual, 0, 1)
