"""Gaussian blur with a given MTF gain at the Nyquist frequency of the coarser image."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def deviation(gain: float, ratio: float) -> float:
    """Standard deviation in pixels of the Gaussian with `gain` at MS's Nyquist frequency."""
    return ratio * math.sqrt(-2 * math.log(gain)) / math.pi


def gaussian(gain: float, ratio: int) -> np.ndarray:
    """Weights along one axis, odd in number, of sum one: `gain` at the Nyquist frequency of MS."""
    sigma = deviation(gain, ratio)
    reach = math.ceil(3 * sigma)
    weights = np.exp(-((np.arange(-reach, reach + 1) / sigma) ** 2) / 2)
    return weights / weights.sum()


def blur(image, weights: np.ndarray):
    """Smooths (B, H, W, C) along both axes with an odd number of weights; borders replicated."""
    reach = len(weights) // 2
    for axis in (1, 2):
        padding = [(0, 0)] * 4
        padding[axis] = (reach, reach)
        padded = jnp.pad(image, padding, mode="edge")
        size = image.shape[axis]
        image = sum(
            float(weight) * jax.lax.slice_in_dim(padded, tap, tap + size, axis=axis)
            for tap, weight in enumerate(weights)
        )
    return image
