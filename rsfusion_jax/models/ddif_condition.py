"""The images that DDIF's denoiser is conditioned on."""

import jax.numpy as jnp

from rsfusion_jax.ops.haar import dwt
from rsfusion_jax.ops.resample import imresize


def wavelet_condition(pan, lms):
    """Concatenates what conditions the denoiser: the images and their Haar wavelets of level 1.

    The details of a single guide band are ordered horizontal, diagonal, vertical, those of several
    horizontal, vertical, diagonal, as in the authors' two data sets. An odd image is extended by
    its last row or column. The wavelets are upsampled bilinearly.

    Args:
        pan: (B, H, W, G).
        lms: (B, H, W, C).

    Returns:
        (B, H, W, 2 C + 4 G): lms, pan, LL of lms, details of pan.
    """
    height, width = lms.shape[1:3]
    even = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    of_lms, of_pan = (dwt(jnp.pad(image, even, mode="edge")) for image in (lms, pan))
    # Details as differences top minus bottom, left minus right.
    horizontal, vertical, diagonal = -of_pan.lh, -of_pan.hl, of_pan.hh
    last = (diagonal, vertical) if pan.shape[-1] == 1 else (vertical, diagonal)
    wavelets = jnp.concatenate([of_lms.ll, horizontal, *last], axis=-1)
    wavelets = imresize(wavelets, (height, width), "bilinear", antialias=False)
    return jnp.concatenate([lms, pan, wavelets], axis=-1)
