"""A scene drawn by a diffusion network, in bounded memory.

The noisy residual of the whole scene and what the sampler remembers lie in a file beside the
output (`field`). A step of the sampler goes over the scene block by block, as fusing does: tiles
are denoised and blended (`diffusion.tiles` says why), and the sampler moves each block.
"""

import dataclasses
import functools
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.diffusion.process import clip_x0, x0_to_residual
from rsfusion_jax.diffusion.sampling import move, table
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.progress import MEGAPIXELS, ProgressBar
from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.batch import WindowBatch, stack_windows
from rsfusion_jax.scenes.work.engines import Engine
from rsfusion_jax.scenes.work.field import Field, Plane
from rsfusion_jax.scenes.work.loop import work_off
from rsfusion_jax.scenes.work.memory import WorkPlan, plan_work
from rsfusion_jax.scenes.work.program import State, WindowSpec


@dataclasses.dataclass(frozen=True)
class DiffusionStep:
    """One step of a sampler on windows.

    Attributes:
        spec: its windows.
        fuser: the diffusion network with its weights.
        field: state of the draw, with its diffusion process.
        state: the network's `variables`; and `row`, the step's row of the sampler's table, with the
            number of the draw from 1 and whether this step is the draw's last.
        identity: None: a draw compiles its step once, which is little beside its many steps.
    """

    spec: WindowSpec
    fuser: Fuser
    field: Field
    state: State
    identity: None = None

    def run(self, state: State, batch: WindowBatch) -> tuple[jax.Array]:
        """State of the field (B, P, Q, planes C) after the step."""
        row, field = state["row"], self.field
        prediction, lms = self.spec.compute(functools.partial(self._predict, state), batch)
        images = jnp.split(batch.field, field.channels // field.bands, axis=-1)
        x, earlier = images[0], images[1 : 1 + field.earlier]
        noise = images[-1] if field.sampler.is_random else None
        scale = field.process.residual_scale
        within_range = functools.partial(clip_x0, lms=lms, scale=scale)
        clip = within_range if field.process.sampler == "ddpm" else None
        predicts = self.fuser.model.predicts
        x, x0 = move(row, x, prediction, earlier, noise, predicts=predicts, clip=clip)
        # A draw that has ended is the residual itself, in which the statistics are taken.
        x = jnp.where(row["last"], x0_to_residual(within_range(x), scale), x)
        planes = [x, *(x0, *earlier)[: field.earlier]]
        if field.draws > 1:
            mean, squares = images[1 + field.earlier : 3 + field.earlier]
            # B. P. Welford, Technometrics 4, 1962.
            nearer = mean + (x - mean) / row["number"]
            squares = squares + jnp.where(row["last"], (x - mean) * (x - nearer), 0)
            planes += [jnp.where(row["last"], nearer, mean), squares]
        return (jnp.concatenate(planes, axis=-1),)

    @jax.default_matmul_precision("highest")
    def _predict(self, state: State, pan, ms, lms, field):
        """The network on tiles, with its newest estimate where it is conditioned on it."""
        bands = self.field.bands
        sees_itself = self.field.process.self_condition == "x0"
        x_self = field[..., bands : 2 * bands] if sees_itself else None
        t = jnp.full(len(pan), state["row"]["t"])
        return self.fuser.model.apply(state["variables"], field[..., :bands], t, pan, lms, x_self)


def draw_scene(
    spec: WindowSpec, fuser: Fuser, field: Field, scene: ScenePair, budget: int, options: Options
) -> Engine:
    """Draws the residual of a scene, as far as it is not there yet.

    Args:
        spec: windows of the network.
        fuser: the diffusion network with its weights.
        field: state of the draw, opened.
        scene: the pair.
        budget: bytes of memory.
        options: options of the run.

    Returns:
        The engine that adds the residual to `lms`: the mean of the draws, where they are several.
    """
    # Tiles reach to the end of the frame: all of it is drawn, whatever is written in the end.
    spans = (
        dataclasses.replace(span, start=span.frame, size=span.length)
        for span in (scene.rows, scene.columns)
    )
    frame = ScenePair(scene.pan, scene.ms, *spans)
    rows = _rows(field)
    if field.done < len(rows):
        state = {"variables": fuser.variables, "row": rows[0]}
        step = DiffusionStep(spec, fuser, field, state)
        _draw(step, frame, rows, budget, options)
    plane = 0 if field.draws == 1 else 1 + field.earlier
    local = dataclasses.replace(spec, reach=0, tile=None, overlap=0)
    return Engine(local, _add, {}, Plane(field, plane))


def _draw(
    step: DiffusionStep, frame: ScenePair, rows: list[dict], budget: int, options: Options
) -> None:
    field, area = step.field, math.prod(frame.size)
    plan = plan_work(step, frame, budget, options.block, options.batch)
    with ProgressBar(
        "drawing", len(rows) * area, field.done * area, unit=MEGAPIXELS, quiet=options.quiet
    ) as stage:
        try:
            while field.done < len(rows):
                _step({**step.state, "row": rows[field.done]}, plan, field, stage)
        except KeyboardInterrupt:
            print(
                f"interrupted after {field.done} of {len(rows)} steps, nothing is written yet; "
                "--resume goes on from there, without it the scene begins anew",
                file=sys.stderr,
            )
            raise


def _step(state: State, plan: WorkPlan, field: Field, stage: ProgressBar) -> None:
    """Moves the whole field by one step."""
    windows, size = plan.windows, plan.batch_size
    groups = [windows.blocks[i : i + size] for i in range(0, len(windows.blocks), size)]

    def read(blocks):
        return stack_windows([windows.read(block)[0] for block in blocks], size), None

    def store(blocks, _, moved):
        for block, image in zip(blocks, moved, strict=False):
            cuts = block.rows, block.columns
            place = (slice(c.begin + c.core, c.begin + c.core + c.size) for c in cuts)
            field.write(*place, image[block.core])
            stage.advance(block.rows.size * block.columns.size)

    work_off(plan, jax.device_put(state), groups, read, store, writers=1)
    field.step_done()


def _rows(field: Field) -> list[dict]:
    """What each step of each draw needs to know."""
    steps = table(field.sampler, field.process.timestep_index, jnp.float32)
    return [
        {name: np.asarray(values[step]) for name, values in steps.items()}
        | {"number": np.float32(draw + 1), "last": np.bool_(step + 1 == field.steps)}
        for draw in range(field.draws)
        for step in range(field.steps)
    ]


def _add(state: State, pan, ms, lms, residual):
    return jnp.clip(lms + residual, 0, 1)
