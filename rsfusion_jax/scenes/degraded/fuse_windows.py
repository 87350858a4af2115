"""Windows of a degraded scene, fused in the way in which the scene itself will be."""

from collections.abc import Sequence

import numpy as np

from rsfusion_jax.classical.method import Setting
from rsfusion_jax.data.source import Sample
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.pair.in_memory import array_scene
from rsfusion_jax.scenes.work.batch import stack_windows
from rsfusion_jax.scenes.work.engines import network_engine
from rsfusion_jax.scenes.work.fitting import fitted_engine
from rsfusion_jax.scenes.work.memory import plan_work
from rsfusion_jax.scenes.work.program import WindowSpec
from rsfusion_jax.scenes.work.windows import WindowReader


def fuse_windows(
    samples: Sequence[Sample],
    spec: WindowSpec,
    setting: Setting | None,
    fuser: Fuser | None,
    budget: int,
    draw: dict,
) -> list[np.ndarray]:
    """Fuse windows of one size as parts of one scene.

    A classical method is fitted to all of them together, as it is to all of a scene.

    Args:
        samples: `pan` and `ms` of each window, in the scene's units.
        spec: windows of the network or method.
        setting: what the classical method needs to know; None with a network.
        fuser: the network; None with a classical method.
        budget: bytes of memory of this process.
        draw: keywords of `Fuser.__call__` for a diffusion network.

    Returns:
        The fused windows, (H, W, C) in the units of `ms`.
    """
    if fuser is not None and fuser.diffusion is not None:
        tile = min(spec.tile, samples[0]["pan"].shape[0])
        return [fuser(s["pan"], s["ms"], s["lms"], tile=tile, **draw) for s in samples]
    if fuser is None:
        joined = (np.concatenate([s[key] for s in samples]) for key in ("pan", "ms"))
        engine, _ = fitted_engine(spec, setting, _scene(*joined, spec), budget)
    else:
        engine = network_engine(fuser, spec)
    plan, fused = None, []
    for sample in samples:
        scene = _scene(sample["pan"], sample["ms"], spec)
        if plan is None:
            plan = plan_work(engine, scene, budget, None, 1)
        windows = WindowReader.of(engine, scene, plan.windows.side)
        image = np.empty((*scene.size, spec.num_bands), np.float32)
        for block in windows.blocks:
            batch = stack_windows([windows.read(block)[0]], 1)
            result = np.asarray(plan.run(engine.state, batch)[0])[0]
            cuts = (slice(cut.start, cut.start + cut.size) for cut in (block.rows, block.columns))
            image[tuple(cuts)] = result[block.core]
        fused.append(image)
    return fused


def _scene(pan: np.ndarray, ms: np.ndarray, spec: WindowSpec) -> ScenePair:
    placed = {"phase": spec.phase, "align": spec.align, "least": spec.tile or 0}
    return array_scene(pan, ms, None, **placed)[0]
