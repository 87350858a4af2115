"""Which pixels of PAN and MS a fused pixel depends on, and how much."""

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.ops.resample import interp23


def influence(fuser: Fuser, pan, ms, pixel: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Compute how much the input pixels of a network change one fused pixel.

    Args:
        fuser: a network that fuses in one pass.
        pan: (1, H, W, G) in [0, 1].
        ms: (1, H/r, W/r, C), likewise.
        pixel: row and column.

    Returns:
        Absolute derivatives of the sum over the bands of the fused pixel, summed over the bands of
        PAN, (H, W), and of MS, (H/r, W/r); through the enlarged MS too.
    """
    row, column = pixel
    model, ratio = fuser.model, fuser.model.ratio

    def fused_pixel(pan, ms, variables):
        fused = model.apply(variables, pan, ms, interp23(ms, ratio))["fused"]
        return fused[0, row, column].sum()

    derivatives = jax.jit(jax.grad(fused_pixel, argnums=(0, 1)))
    with jax.default_matmul_precision("highest"):
        found = derivatives(jnp.asarray(pan), jnp.asarray(ms), fuser.variables)
    of_pan, of_ms = (np.abs(np.asarray(image))[0].sum(axis=-1) for image in found)
    return of_pan, of_ms
