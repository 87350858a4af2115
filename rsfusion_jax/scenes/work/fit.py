"""Coefficients of a classical method from a whole scene, window by window."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.clustered import Clustered
from rsfusion_jax.classical.glp import Injection
from rsfusion_jax.classical.method import Setting
from rsfusion_jax.classical.modulation import Modulation
from rsfusion_jax.classical.multiresolution import MatchedPan
from rsfusion_jax.classical.pracs import Pracs
from rsfusion_jax.classical.streaming import STREAMED, Pass
from rsfusion_jax.classical.substitution import Substitution
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.enlarge import enlarge
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.batch import WindowBatch
from rsfusion_jax.scenes.work.loop import Ahead
from rsfusion_jax.scenes.work.windows import Block, WindowReader

_KINDS = {
    kind.__name__: kind
    for kind in (Clustered, Injection, MatchedPan, Modulation, Pracs, Substitution)
}


def fit_scene(name: str, setting: Setting, scene: ScenePair, side: int, budget: int, advance=None):
    """Passes over the scene and fits.

    Args:
        name: of the method.
        setting: of the method.
        scene: the pair.
        side: PAN pixels along a side of the core of a window.
        budget: bytes that the pixels kept by methods that need all of them may take.
        advance: called with the PAN pixels read, after every window.

    Returns:
        The method's coefficients, as numpy arrays of float64.

    Raises:
        UserError: a method that needs the whole scene at once, and a scene beyond the budget.
    """
    streamed = STREAMED[name]
    kept = streamed.bytes_per_pixel(len(scene.ms.bands)) * math.prod(scene.size)
    if kept and kept > budget:
        raise UserError(
            f"method {name!r} compares all pixels with each other and cannot be streamed: this "
            f"scene takes {kept / 2**30:.1f} GB, --memory leaves {budget / 2**30:.1f} GB; give "
            "more or choose another method, such as gsa"
        )
    coefficients = ()
    ratio = setting.ratio
    halo = -(-streamed.fit_reach(ratio) // ratio) * ratio
    windows = WindowReader(scene, side, halo, streamed.align(ratio))
    for step in streamed.passes(len(scene.ms.bands)):
        coefficients = _one_pass(step, coefficients, windows, setting, advance)
    return coefficients


def _one_pass(step: Pass, so_far, windows: WindowReader, setting: Setting, advance):
    fine = coarse = None
    seen = 0
    passed_on = _for_device(so_far)
    ahead = Ahead(workers=2, depth=2)
    try:
        for block, (window, valid) in ahead.map(
            lambda block: (block, windows.read(block)), windows.blocks
        ):
            on_fine, on_coarse = _measure(window, passed_on, step=step, setting=setting)
            if on_fine is not None:
                fine = step.gather(on_fine.shape[-1], so_far) if fine is None else fine
                fine.add(np.asarray(on_fine)[block.core][valid])
            if on_coarse is not None:
                coarse = step.gather(on_coarse.shape[-1], so_far) if coarse is None else coarse
                inside, picked = _coarse_core(block, valid, setting.ratio)
                coarse.add(np.asarray(on_coarse)[inside][picked])
            seen += int(valid.sum())
            if advance is not None:
                advance(block.rows.size * block.columns.size)
    finally:
        ahead.close()
    if not seen:
        raise UserError("PAN and MS have no valid pixel in common; look at their nodata values")
    return step.conclude(so_far, fine, coarse, setting)


def _for_device(so_far):
    """What `measure` may use: arrays; moments stay on the host."""
    leaves = jax.tree.leaves(so_far)
    arrays = all(isinstance(leaf, np.ndarray | np.floating) for leaf in leaves)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), so_far) if arrays else ()


@functools.partial(jax.jit, static_argnames=("step", "setting"))
def _measure(window: WindowBatch, so_far, *, step: Pass, setting: Setting):
    lms = enlarge(window.ms, window.rows_fine, window.columns_fine)
    ms = enlarge(window.ms, window.rows_coarse, window.columns_coarse)
    return step.measure(so_far, window.pan, ms, lms, setting)


def _coarse_core(block: Block, valid: np.ndarray, ratio: int):
    """Slices of the window's MS pixels whose centres are written, and (h, w) bool, which count."""
    slices, picks = [], []
    for cut in (block.rows, block.columns):
        first = -(-(cut.core - ratio // 2) // ratio)
        stop = -(-(cut.core + cut.size - ratio // 2) // ratio)
        slices.append(slice(first, stop))
        picks.append(np.arange(first, stop) * ratio + ratio // 2 - cut.core)
    return tuple(slices), valid[np.ix_(*picks)]


def to_plain(coefficients) -> dict:
    """Coefficients as JSON has them."""
    if isinstance(coefficients, tuple) and not coefficients:
        return {"kind": "none", "fields": []}
    named = type(coefficients).__name__ in _KINDS
    fields = list(coefficients) if named else [coefficients]
    kind = type(coefficients).__name__ if named else "array"
    return {"kind": kind, "fields": [np.asarray(field, np.float64).tolist() for field in fields]}


def from_plain(plain: dict):
    """The reverse of `to_plain`."""
    fields = [np.asarray(field) for field in plain["fields"]]
    if plain["kind"] == "none":
        return ()
    return fields[0] if plain["kind"] == "array" else _KINDS[plain["kind"]](*fields)
