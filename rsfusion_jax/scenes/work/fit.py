"""Coefficients of a classical method from a whole scene, window by window."""

import functools
import math
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.classical.gather import gather
from rsfusion_jax.classical.method import Setting, Step
from rsfusion_jax.classical.registry import METHODS, get_method
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.enlarge import enlarge
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.batch import WindowBatch
from rsfusion_jax.scenes.work.loop import Ahead
from rsfusion_jax.scenes.work.windows import Block, WindowReader

_KINDS = {
    method.coefficients.__name__: method.coefficients
    for method in METHODS.values()
    if method.coefficients is not None
}


def fit_scene(name: str, setting: Setting, scene: ScenePair, side: int, budget: int, advance=None):
    """Coefficients of a classical method from a whole scene, read window by window.

    Args:
        name: name of the method.
        setting: ratio and MTF gains of the method.
        scene: the pair of images.
        side: PAN pixels along a side of the core of a window.
        budget: bytes available for the pixels that some methods need all at once.
        advance: called with the number of PAN pixels read, after every window.

    Returns:
        The coefficients, NamedTuples of arrays or one array; () where nothing is fitted.

    Raises:
        UserError: a method that needs the whole scene at once, and a scene beyond the budget; no
            valid pixels.
    """
    method, bands, ratio = get_method(name), len(scene.ms.bands), setting.ratio
    needed = method.bytes_per_pixel(bands) * math.prod(scene.size)
    if needed and needed > budget:
        raise UserError(
            f"method {name!r} compares all pixels with each other and cannot be streamed: this "
            f"scene takes {needed / 2**30:.1f} GB, --memory leaves {budget / 2**30:.1f} GB; give "
            "more or choose another method, such as gsa"
        )
    halo = -(-method.fit_reach(ratio) // ratio) * ratio
    windows = WindowReader(scene, side, halo, method.align(ratio))
    ahead = Ahead(workers=2, depth=2)
    earlier = ()
    try:
        for step in method.steps:
            read = functools.partial(_read, step, earlier, windows, setting, ahead, advance)
            fine, coarse = gather(step, bands, read)
            if any(image.count == 0 for image in (*fine.values(), *coarse.values())):
                raise UserError("PAN and MS have no whole MS pixel in common; give larger images")
            earlier = (step.estimate(fine, coarse, setting, *earlier),)
    finally:
        ahead.close()
    return earlier[0] if earlier else ()


def _read(
    step: Step,
    earlier: tuple,
    windows: WindowReader,
    setting: Setting,
    ahead: Ahead,
    advance,
    only: str | None,
) -> Iterator[tuple[dict, dict]]:
    """Measures every window and yields its valid pixels, as `gather` takes them."""
    on_device = jax.tree.map(lambda values: jnp.asarray(values, jnp.float32), earlier)
    any_valid = False
    for block, (window, valid) in ahead.map(
        lambda block: (block, windows.read(block)), windows.blocks
    ):
        fine, coarse = _measure(window, on_device, step=step, setting=setting, only=only)
        inside, picked = _coarse_core(block, valid, setting.ratio)
        yield (
            {name: _picked(np.asarray(image)[block.core], valid) for name, image in fine.items()},
            {name: _picked(np.asarray(image)[inside], picked) for name, image in coarse.items()},
        )
        any_valid = any_valid or valid.any()
        if advance is not None:
            advance(block.rows.size * block.columns.size)
    if not any_valid:
        raise UserError("PAN and MS have no valid pixel in common; look at their nodata values")


@functools.partial(jax.jit, static_argnames=("step", "setting", "only"))
def _measure(window: WindowBatch, earlier, *, step: Step, setting: Setting, only: str | None):
    lms = enlarge(window.ms, window.rows_fine, window.columns_fine)
    ms = enlarge(window.ms, window.rows_coarse, window.columns_coarse)
    fine, coarse = step.measure(window.pan, ms, lms, setting, *earlier)
    return (fine, coarse) if only is None else ({only: fine[only]}, {})


def _coarse_core(block: Block, valid: np.ndarray, ratio: int):
    """Slices of the window's MS pixels whose centres are written, and (h, w) bool, which count."""
    slices, picks = [], []
    for cut in (block.rows, block.columns):
        first = -(-(cut.core - ratio // 2) // ratio)
        stop = -(-(cut.core + cut.size - ratio // 2) // ratio)
        slices.append(slice(first, stop))
        picks.append(np.arange(first, stop) * ratio + ratio // 2 - cut.core)
    return tuple(slices), valid[np.ix_(*picks)]


def _picked(image: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N, K) valid pixels of (H, W, K)."""
    return image.reshape(-1, image.shape[-1]) if valid.all() else image[valid]


def to_plain(coefficients) -> dict:
    """Coefficients as plain lists and strings, for JSON."""
    if isinstance(coefficients, tuple) and not coefficients:
        return {"kind": "none", "fields": []}
    named = type(coefficients).__name__ in _KINDS
    fields = list(coefficients) if named else [coefficients]
    kind = type(coefficients).__name__ if named else "array"
    return {"kind": kind, "fields": [np.asarray(field, np.float64).tolist() for field in fields]}


def from_plain(plain: dict):
    """Coefficients from what `to_plain` made of them."""
    fields = [np.asarray(field) for field in plain["fields"]]
    if plain["kind"] == "none":
        return ()
    return fields[0] if plain["kind"] == "array" else _KINDS[plain["kind"]](*fields)
