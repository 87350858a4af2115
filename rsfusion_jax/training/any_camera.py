"""The objective of weights for any camera: MS is made anew in every step, as another camera's.

The training set has the ground truth and a sharp guide. What lies between two cameras is drawn on
the device: how many and which bands there are, haze, the blur of MS and of the guide, the ratio,
lossy compression, and whether several bands of the ground truth guide the others, as in Sentinel-2.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from rsfusion_jax.errors import UserError
from rsfusion_jax.ops.by_device import draw_rows
from rsfusion_jax.ops.resample import interp23
from rsfusion_jax.ops.wavelet_rounding import round_wavelets

BANDS = 4
"""Bands that are fused in every step, of those of the training set."""
_COUNTS, _COUNT_SHARES = (1, 2, 3, 4), (0.05, 0.05, 0.15, 0.75)
"""Numbers of different bands among them, and their shares; bands are repeated to make `BANDS`."""
_PROBLEMS = (
    ((4, 1), 0.45),
    ((2, 1), 0.15),
    ((3, 1), 0.13),
    ((6, 1), 0.15),
    ((2, 4), 0.05),
    ((6, 4), 0.03),
    ((4, 3), 0.04),
)
"""(ratio, guide bands), and the share of steps with it; the patch size must suit every ratio."""
_MS_GAINS, _SPREAD = (0.1, 0.45), 0.04
"""Range of the mean MTF gain of MS at its Nyquist frequency, and a band's deviation from it."""
_PAN_GAINS = 0.03, 0.5
"""Range of the gains of the guide's blur at its own Nyquist frequency, whose logarithm is drawn
uniformly. At full resolution PAN is duller than the bands are to become: its gain is about 0.15,
theirs 0.3 times what the ground segment added by sharpening. Networks that saw sharper guides add
too little detail to real images."""
_HAZY, _HAZE, _DARK = 0.8, (-0.3, 0.95), 0.002
"""Share of patches whose haze is changed, the shares of a band's darkest level that are taken away,
and the quantile that counts as darkest."""
_COMPRESSED = 0.3
"""Share of patches that are delivered as JPEG 2000, with loss."""
_MS_LOSS, _PAN_LOSS = (0.1, 1.2), (0.05, 0.5)
"""Ranges of `round_wavelets`'s strength, whose logarithm is drawn uniformly. Compressed to 30 % of
their size, the degraded images of three satellites lose as much as at 0.9 (MS) and 0.3 (PAN)."""
_ROUNDING = 1e-4
"""Share of full scale below which errors are noise."""


def any_camera(loss: str):
    """Makes the objective.

    The loss is the share of interpolation's error that remains: the root mean square difference of
    each band over that of `lms`, so that dull and lively scenes, near and far ratios count alike.

    Args:
        loss: must be "of_exp", which says so in the config.
    """
    if loss != "of_exp":
        raise UserError(f"train.loss={loss!r}: any_camera is defined with of_exp; set it so")

    def check(model, batch):
        if model.predicts != "fused" or model.sees_units:
            raise UserError(
                "train.objective='any_camera' needs a network without units or a fixed number of "
                f"bands (anysensor, bandwise), found {model.title}; set it to 'supervised'"
            )

    def objective(model, params, batch, key):
        check(model, batch)
        which, key = jax.random.split(key)
        problems, shares = zip(*_PROBLEMS, strict=True)
        branches = [functools.partial(_loss, model, ratio, guides) for ratio, guides in problems]
        index = jax.random.choice(which, len(problems), p=jnp.array(shares))
        images = {"gt": batch["gt"], "pan": batch["pan"]}
        return jax.lax.switch(index, branches, params, images, key), {}

    objective.check = check
    return objective


def _loss(model, ratio: int, guides: int, params, batch, key):
    """The loss of one ratio and number of guide bands."""
    keys = draw_rows(lambda shape: jax.random.split(key, shape[0]), batch["gt"].shape[:1])
    draw = functools.partial(_draw, guides=guides)
    truth, guide, gains, losses = jax.vmap(draw)(batch["gt"], batch["pan"], keys)
    ms = _observed(truth, gains, ratio)
    ms, guide = (jax.vmap(_compressed)(image, losses[:, i]) for i, image in enumerate((ms, guide)))
    lms = interp23(ms, ratio)
    network = model.clone(num_bands=BANDS, guide_bands=guides, ratio=ratio)
    fused = network.apply({"params": params}, guide, ms, lms, train=True)["fused"]
    remaining = _error(fused, truth) / (_error(lms, truth) + _ROUNDING)
    return remaining.mean()


def _error(image, truth):
    """Root mean square difference of each band of (B, H, W, C): (B, C)."""
    squares = jnp.square(image.astype(truth.dtype) - truth).mean(axis=(1, 2))
    return jnp.sqrt(squares + _ROUNDING**2)


def _draw(truth, pan, key, guides: int):
    """Draws the bands, the guide and the blur of one patch.

    Args:
        truth: (H, W, S) ground truth.
        pan: (H, W, 1) sharp guide.
        key: random key.
        guides: guide bands; more than one are taken from `truth`.

    Returns:
        (H, W, BANDS) ground truth, (H, W, guides), (BANDS,) MTF gains of MS, and (2,) strengths of
        the compression of MS and of the guide, 0 for none.
    """
    order, count, blur, haze, mean, spread, compression = jax.random.split(key, 7)
    bands = jax.random.permutation(order, truth.shape[-1])
    if guides > 1:
        pan, bands = truth[..., bands[:guides]], bands[guides:]
    else:
        low, high = np.log(_PAN_GAINS)
        gain = jnp.exp(jax.random.uniform(blur, (1, 1), minval=low, maxval=high))
        pan = _observed(pan[None], gain, 1)[0]
    different = jax.random.choice(count, jnp.array(_COUNTS), p=jnp.array(_COUNT_SHARES))
    truth = truth[..., bands[jnp.arange(BANDS) % different]]
    images = _without_haze(jnp.concatenate([truth, pan], axis=-1), haze)
    gains = jax.random.uniform(mean, minval=_MS_GAINS[0], maxval=_MS_GAINS[1])
    gains += jax.random.uniform(spread, (BANDS,), minval=-_SPREAD, maxval=_SPREAD)
    return images[..., :BANDS], images[..., BANDS:], gains, _losses(compression)


def _losses(key):
    """Draws the strengths of the compression of MS and of the guide, (2,)."""
    whether, strength = jax.random.split(key)
    low, high = np.log([_MS_LOSS, _PAN_LOSS]).T
    losses = jnp.exp(jax.random.uniform(strength, (2,), minval=low, maxval=high))
    return jnp.where(jax.random.uniform(whether) < _COMPRESSED, losses, 0)


def _compressed(image, strength):
    """(H, W, C) as it comes out of lossy compression; unchanged at strength 0."""
    return jnp.where(strength > 0, round_wavelets(image, strength), image)


def _without_haze(image, key):
    """Takes a part of each band's darkest level away, or adds to it, as less or more haze does."""
    whether, shares = jax.random.split(key)
    darkest = jnp.quantile(image, _DARK, axis=(0, 1))
    share = jax.random.uniform(shares, darkest.shape, minval=_HAZE[0], maxval=_HAZE[1])
    return image - jnp.where(jax.random.uniform(whether) < _HAZY, share * darkest, 0)


def _observed(image, gains, ratio: int):
    """Blurs and decimates (B, H, W, C) by Gaussians with `gains` (B, C) at the Nyquist frequency.

    As `data.simulation.wald.simulate` does, sampled at `ratio // 2`, but with other gains for
    every image and with borders by what lies inside.
    """
    sigma = ratio * jnp.sqrt(-2 * jnp.log(gains)) / jnp.pi

    def matrix(size):
        centres = ratio // 2 + ratio * jnp.arange(size // ratio)
        distance = (jnp.arange(size) - centres[:, None]) / sigma[..., None, None]
        weights = jnp.exp(-jnp.square(distance) / 2)
        return weights / weights.sum(axis=-1, keepdims=True)

    rows, columns = (matrix(size) for size in image.shape[1:3])
    return jnp.einsum("bchi,bijc,bcwj->bhwc", rows, image, columns, precision="highest")
