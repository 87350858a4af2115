"""Enlarging, decimating and resizing images: the field's interp23, imresize and nearest phase.

Every function takes numpy or jax arrays (..., H, W, C) of a float dtype and returns the same kind
and dtype, so that the host-side simulation and the jitted code are one implementation. Resampling
is separable; weights are computed on the host in float64.

Phase: `interp23` puts input sample i at output index `ratio * i + ratio // 2`, the sample that
`decimate` keeps, so `decimate(interp23(x, r), r)` is x. `imresize` is area-aligned instead: sample
i sits at `ratio * i + (ratio - 1) / 2`.
"""

import functools

import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.banded import Taps, multiply

# Aiazzi, Alparone, Baronti, Garzelli, "Context-driven fusion of high spatial and spectral
# resolution images based on oversampled multiresolution analysis", IEEE TGRS 40(10), 2002: the
# 23-tap half-band filter. Its centre is 1 and every other even tap 0; these are the odd taps
# 1, 3, ..., 11 to one side, already doubled for the inserted zeros.
_HALF_BAND = (
    0.61066818237,
    -0.145397186478,
    0.043619155884,
    -0.010385513306,
    0.001615524292,
    -0.000120162964,
)


def interp23(image, ratio: int, wrap: bool = False):
    """Band-limited enlargement by an integer ratio; input sample i lands on `r * i + r // 2`.

    Powers of two apply the 23-tap half-band filter log2(r) times, samples at the odd positions in
    the first step and at the even ones later (the toolbox's rule for 2 and 4, continued to 8).
    Other ratios interpolate at once with the filter's own family: its taps are those of 12-point
    Lagrange interpolation halfway between samples, here taken at every phase.

    Args:
        image: (..., h, w, C), float.
        ratio: integer >= 1; 1 returns the image.
        wrap: periodic borders, as the MATLAB toolbox has them; default edge-replicated.

    Returns:
        (..., r h, r w, C), interpolating exactly at `[r // 2 :: r]`.

    Raises:
        UserError: ratio below 1, or an image that is not float (..., H, W, C).
    """
    check_image(image)
    ratio = check_ratio(ratio)
    border = "wrap" if wrap else "edge"
    if ratio & (ratio - 1) == 0:
        banks = [_half_band_bank(step == 0) for step in range(ratio.bit_length() - 1)]
    else:
        banks = [_lagrange_bank(ratio)]
    for bank in banks:
        for axis in (-3, -2):
            image = _enlarge(image, bank, axis, border)
    return image


def interpolate_at(image, rows, columns):
    """Reads (..., H, W, C) between its pixels, band-limited; borders are edge-replicated.

    Separable 12-point Lagrange interpolation, the family of `interp23`: exact at whole positions.

    Args:
        image: (..., H, W, C), float.
        rows: (H',) positions along H in pixels, 0 the centre of the first.
        columns: (W',) positions along W.

    Returns:
        (..., H', W', C): value [i, j] belongs to position (rows[i], columns[j]).
    """
    check_image(image)
    nodes = np.arange(-5, 7)
    for axis, positions in ((-3, rows), (-2, columns)):
        positions = np.asarray(positions, np.float64)
        base = np.floor(positions).astype(int)
        indices = np.clip(base[:, None] + nodes, 0, image.shape[axis] - 1)
        image = _gather(image, indices, _lagrange(positions - base, nodes), axis)
    return image


def decimate(image, ratio: int, phase: int | None = None):
    """Keeps every `ratio`-th row and column of (..., H, W, C) from index `phase`.

    Args:
        image: (..., H, W, C) with H and W multiples of `ratio`.
        ratio: integer >= 1.
        phase: index of the first sample kept; default `ratio // 2`.

    Raises:
        UserError: sizes that are not multiples of the ratio, or a phase outside 0..ratio-1.
    """
    ratio = check_ratio(ratio)
    phase = ratio // 2 if phase is None else phase
    height, width = image.shape[-3:-1]
    if height % ratio or width % ratio:
        raise UserError(
            f"image of {height}x{width} cannot be decimated by {ratio}; crop it to multiples of "
            f"{ratio}"
        )
    if not 0 <= phase < ratio:
        raise UserError(f"phase {phase} lies outside 0..{ratio - 1}; the field's is {ratio // 2}")
    return image[..., phase::ratio, phase::ratio, :]


def imresize(image, size: tuple[int, int], method: str = "bicubic", antialias: bool = True):
    """Resizes (..., H, W, C) to `size` as MATLAB's imresize does.

    Output sample i looks at input position (i + 0.5) / s - 0.5, s the scale of its axis. The
    kernel is stretched by 1 / s when the axis shrinks and `antialias` is set, the weights of each
    output sample sum to 1, borders are mirrored with the edge sample repeated. Rows come first.

    Args:
        image: (..., H, W, C), float.
        size: (H', W').
        method: "bicubic" (Keys, a = -0.5), "bilinear" or "nearest".
        antialias: widen the kernel when shrinking; ignored by "nearest".

    Raises:
        UserError: unknown method, or an image that is not float (..., H, W, C).
    """
    check_image(image)
    if method not in ("bicubic", "bilinear", "nearest"):
        raise UserError(f"imresize method {method!r} is unknown; use bicubic, bilinear or nearest")
    for axis, target in zip((-3, -2), size, strict=True):
        indices, weights = _resize_weights(image.shape[axis], int(target), method, antialias)
        image = _gather(image, indices, weights, axis)
    return image


def reduce_to(image, size: tuple[int, int]):
    """Bicubic `imresize` of a JAX array (H, W, C) to a smaller size, by products with matrices.

    XLA joins the two passes of `imresize` with what follows, and reads 16 x 16 pixels for each
    result in place of 16 + 16. It joins no products.

    Args:
        image: (H, W, C), float.
        size: (h, w).
    """
    check_image(image)
    for length, target in zip(image.shape, size, strict=False):
        taps = _reducing_taps(length, target, image.dtype)
        image = jnp.swapaxes(multiply(taps, image), 0, 1)
    return image


def imresize_in_zeros(image, ratio: int):
    """Bicubic `imresize` of (..., h, w, C) by an integer ratio, with zeros around the image.

    Args:
        image: (..., h, w, C), float.
        ratio: integer >= 1.

    Returns:
        (..., r h, r w, C).
    """
    check_image(image)
    for axis in (-3, -2):
        image = _enlarge(image, _cubic_bank(check_ratio(ratio)), axis, "constant")
    return image


def bicubic_corners(image, size: tuple[int, int]):
    """Bicubic resampling whose corner pixels stay corner pixels, without antialiasing.

    `torch.nn.functional.interpolate(mode="bicubic", align_corners=True)`: a = -0.75, borders
    repeated. For losses that published code takes of images made this way; to resize an image, use
    `imresize`.

    Args:
        image: (..., H, W, C), float.
        size: (H', W').
    """
    check_image(image)
    for axis, target in zip((-3, -2), size, strict=True):
        length = image.shape[axis]
        positions = np.arange(target) * ((length - 1) / max(target - 1, 1))
        base = np.floor(positions).astype(int)
        nodes = np.arange(-1, 3)
        distance = np.abs(positions[:, None] - (base[:, None] + nodes))
        near = (1.25 * distance - 2.25) * distance**2 + 1
        far = ((-0.75 * distance + 3.75) * distance - 6) * distance + 3
        indices = np.clip(base[:, None] + nodes, 0, length - 1)
        image = _gather(image, indices, np.where(distance <= 1, near, far), axis)
    return image


def check_image(image) -> None:
    """Raises UserError unless `image` is a float array with axes (..., H, W, C)."""
    if image.ndim < 3:
        raise UserError(
            f"image of shape {tuple(image.shape)} has no channel axis; give (..., H, W, C), a "
            "panchromatic image as (H, W, 1)"
        )
    xp = image.__array_namespace__()
    if not xp.issubdtype(image.dtype, xp.floating):
        raise UserError(
            f"image of dtype {image.dtype} cannot be resampled or filtered; convert it to float32 "
            "or float64"
        )


def check_ratio(ratio: int) -> int:
    """The ratio as an int; UserError unless it is an integer of at least 1."""
    if int(ratio) != ratio or ratio < 1:
        raise UserError(f"ratio {ratio} is not an integer of at least 1")
    return int(ratio)


@functools.lru_cache
def _half_band_bank(first: bool) -> np.ndarray:
    """(2, 13) weights of input samples i-6..i+6 for the output samples 2i and 2i+1."""
    between = np.array([*_HALF_BAND[::-1], *_HALF_BAND])  # halfway between two input samples
    bank = np.zeros((2, 13))
    bank[1 if first else 0, 6] = 1.0
    if first:  # 2i lies between i-1 and i
        bank[0, :12] = between
    else:  # 2i+1 lies between i and i+1
        bank[1, 1:] = between
    return bank


@functools.lru_cache
def _lagrange_bank(ratio: int) -> np.ndarray:
    """(ratio, 13) weights of input samples i-6..i+6 for the output samples r*i + 0..r-1."""
    bank = np.zeros((ratio, 13))
    for row, position in zip(bank, (np.arange(ratio) - ratio // 2) / ratio, strict=True):
        # The twelve samples around the position; at sample 0 itself the weights are 1 and 0s.
        nodes = np.arange(-6, 6) if position < 0 else np.arange(-5, 7)
        row[nodes + 6] = _lagrange(position, nodes)
    return bank


@functools.lru_cache(maxsize=8)
def _reducing_taps(length: int, target: int, dtype) -> Taps:
    """The matrix (target, length) of one axis of `imresize`."""
    indices, weights = _resize_weights(length, target, "bicubic", True)
    matrix = np.zeros((target, length))
    np.add.at(matrix, (np.arange(target)[:, None], indices), weights)
    return Taps.of(matrix, target / length, weights.shape[1] + 1, dtype)


@functools.lru_cache
def _cubic_bank(ratio: int) -> np.ndarray:
    """(ratio, 5) weights of input samples i-2..i+2 for the output samples r*i + 0..r-1."""
    # Those of a sample that is far from the borders of a small image.
    indices, weights = _resize_weights(9, 9 * ratio, "bicubic", True)
    bank = np.zeros((ratio, 9))
    for row, places, values in zip(bank, indices[4 * ratio :], weights[4 * ratio :], strict=False):
        np.add.at(row, places, values)
    return bank[:, 2:7]


def _lagrange(position: np.ndarray | float, nodes: np.ndarray) -> np.ndarray:
    """Weights (..., nodes) of the polynomial through samples at `nodes`, read at `position`."""
    weights = np.empty((*np.shape(position), len(nodes)))
    for index, node in enumerate(nodes):
        others = nodes[nodes != node]
        weights[..., index] = np.prod(
            (np.asarray(position)[..., None] - others) / (node - others), axis=-1
        )
    return weights


def _enlarge(image, bank: np.ndarray, axis: int, border: str):
    """Polyphase enlargement of one axis: output r*i + p is sum_t bank[p, t] * image[i + t - T//2].

    No zeros are inserted: each output sample costs the taps that meet an input sample.
    """
    xp = image.__array_namespace__()
    axis += image.ndim
    ratio, taps = bank.shape
    length = image.shape[axis]
    padding = [(0, 0)] * image.ndim
    padding[axis] = (taps // 2, taps // 2)
    padded = xp.pad(image, padding, mode=border)
    phases = []
    for weights in bank:
        terms = [
            float(weight) * _slice(padded, tap, length, axis)
            for tap, weight in enumerate(weights)
            if weight
        ]
        phases.append(functools.reduce(lambda total, term: total + term, terms))
    joined = xp.stack(phases, axis=axis + 1)
    return joined.reshape(*image.shape[:axis], ratio * length, *image.shape[axis + 1 :])


def _slice(image, start: int, length: int, axis: int):
    index = [slice(None)] * image.ndim
    index[axis] = slice(start, start + length)
    return image[tuple(index)]


@functools.lru_cache
def _resize_weights(length: int, target: int, method: str, antialias: bool):
    """Input indices and weights, both (target, taps), of one axis of `imresize`."""
    scale = target / length
    position = (np.arange(target) + 0.5) / scale - 0.5
    if method == "nearest":
        return np.clip(np.floor(position + 0.5), 0, length - 1).astype(int)[:, None], np.ones(
            (target, 1)
        )
    stretch = min(scale, 1.0) if antialias else 1.0
    reach = (4 if method == "bicubic" else 2) / stretch
    first = np.floor(position - reach / 2).astype(int)
    indices = first[:, None] + np.arange(int(np.ceil(reach)) + 2)
    weights = _kernel((position[:, None] - indices) * stretch, method)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.any(weights != 0, axis=0)
    mirrored = np.mod(indices[:, used], 2 * length)
    return np.minimum(mirrored, 2 * length - 1 - mirrored), weights[:, used]


def _kernel(x: np.ndarray, method: str) -> np.ndarray:
    x = np.abs(x)
    if method == "bilinear":
        return np.clip(1 - x, 0, None)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _gather(image, indices: np.ndarray, weights: np.ndarray, axis: int):
    """Sum over taps of image[indices[:, tap]] * weights[:, tap] along one axis."""
    xp = image.__array_namespace__()
    weights = weights.reshape(*weights.shape, *(1,) * (-axis - 1))
    terms = (
        xp.take(image, indices[:, tap], axis=axis) * xp.asarray(weights[:, tap], image.dtype)
        for tap in range(indices.shape[1])
    )
    return functools.reduce(lambda total, term: total + term, terms)
