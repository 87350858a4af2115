"""The fused images that `indices` ranks: formulas, networks at several stages, degraded images."""

import zlib
from pathlib import Path

import jax
import numpy as np
import optax
from scipy import ndimage

import rsfusion_jax as rsf
from benchmarks.studies.synthetic_transfer import Joined
from rsfusion_jax.compilation import compiler_options
from rsfusion_jax.data.pipeline import Cached, train_dataset
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

FORMULAS = tuple(name for name in rsf.classical.list_methods() if not name.startswith("hyper_"))
"""With one guide band the two methods for several guides are like their namesakes."""
NETWORKS = ("pnn", "fusionnet")
STAGES = (0, 50, 200, 800)
"""Training steps after which the networks fuse."""
GOOD = "mtf_glp_fs"
"""Method whose images are degraded, besides the ground truth."""
_TRAINED_ON = {4: ("ge1", "ikonos", "wv4", "qb", "gf2"), 8: ("wv2", "wv3")}
_SCENES, _SIDE, _BATCH, _PATCH, _RATE = 20, 64, 4, 16, 1e-3


def networks(bands: int, folder: Path, seed: int) -> dict[str, Fuser]:
    """Return the networks at all stages and the packaged weights.

    Args:
        bands: number of MS bands, 4 or 8.
        folder: folder of trained weights; missing ones are trained and stored there.
        seed: seed of scenes, initial weights and batches.
    """
    result, source = {}, None
    for name in NETWORKS:
        model = create_model(name, num_bands=bands)
        start = init_params(model, jax.random.key(seed))
        leaves, tree = jax.tree.flatten(start)
        path = folder / f"{name}_{bands}_{seed}.npz"
        if not path.exists():
            source = source or _training_scenes(bands, seed)
            stages = _train(model, start, source, seed)
            folder.mkdir(parents=True, exist_ok=True)
            np.savez(
                path,
                **{
                    f"{steps} {index}": leaf
                    for steps, params in stages.items()
                    for index, leaf in enumerate(jax.tree.leaves(params))
                },
            )
        with np.load(path) as file:
            for steps in STAGES:
                params = [file[f"{steps} {index}"] for index in range(len(leaves))]
                variables = {"params": jax.tree.unflatten(tree, params)}
                result[f"{name} {steps}"] = Fuser(model, variables)
    return {**result, "default weights": rsf.load_default(bands)}


def _training_scenes(bands: int, seed: int) -> Cached:
    """Scenes of the split "train" at reduced resolution, of satellites with so many bands."""
    sensors = _TRAINED_ON[bands]
    options = {"num_scenes": _SCENES // len(sensors), "size": _SIDE, "seed": seed}
    return Cached(
        Joined([SyntheticScenes(sensor, nuisances=True, **options) for sensor in sensors])
    )


def _train(model, start, source, seed: int) -> dict[int, dict]:
    """Train by L1 and Adam; return the parameters at every stage."""
    optimizer = optax.adam(_RATE)
    state = create_state(start, optimizer, jax.random.key(seed + 1), ema=False)
    step = make_train_step(model, make_objective("supervised", "l1"), optimizer)
    step = jax.jit(step, compiler_options=compiler_options("cpu"))
    batches = iter(
        train_dataset(source, batch_size=_BATCH, patch_size=_PATCH, seed=seed, crops_per_sample=64)
    )
    stages = {0: jax.device_get(start)}
    for number in range(1, max(STAGES) + 1):
        state, _ = step(state, next(batches))
        if number in STAGES:
            stages[number] = jax.device_get(state.params)
            print(f"{model.title}: {number} steps", flush=True)
    return stages


def fuse_all(sample, sensor, fusers: dict[str, Fuser]) -> dict[str, np.ndarray]:
    """Fuse one pair by all formulas and networks, (H, W, C) each, clipped to [0, 1]."""
    images = sample["pan"], sample["ms"], sample["lms"]
    fused = {
        name: rsf.classical.fuse(name, *images[:2], sensor=sensor, lms=images[2])
        for name in FORMULAS
    }
    fused |= {name: fuser(*images) for name, fuser in fusers.items()}
    return {name: np.clip(image, 0, 1) for name, image in fused.items()}


def controls(truth, good, pan, seed: tuple) -> dict[str, np.ndarray]:
    """Degrade the ground truth and a good method's image, each in five ways.

    Strengths are drawn for every scene, so that a control's true rank varies.

    Args:
        truth: (H, W, C) ground truth in [0, 1].
        good: (H, W, C) image of `GOOD`.
        pan: (H, W, 1), which is also copied into every band.
        seed: seed of the strengths.

    Returns:
        Images by name, (H, W, C) in [0, 1].
    """
    result = {"PAN in every band": pan_in_every_band(pan, truth)}
    for base, image in (("truth", truth), (GOOD, good)):
        for name, degrade in DEGRADATIONS.items():
            rng = np.random.default_rng([*seed, zlib.crc32(f"{base} {name}".encode())])
            result[f"{base}, {name}"] = degrade(image, rng)
    return {name: np.clip(image, 0, 1).astype(np.float32) for name, image in result.items()}


def pan_in_every_band(pan, image) -> np.ndarray:
    """Give PAN each band's mean and standard deviation."""
    mean, spread = image.mean(axis=(0, 1)), image.std(axis=(0, 1))
    return mean + spread * (pan - pan.mean()) / max(pan.std(), 1e-6)


def too_smooth(image, rng) -> np.ndarray:
    """Blur by a Gaussian of 0.5 to 2 pixels."""
    return _blurred(image, _log_uniform(rng, 0.5, 2))


def too_sharp(image, rng) -> np.ndarray:
    """Add 0.3 to 2 times what a Gaussian of one pixel removes."""
    return image + _log_uniform(rng, 0.3, 2) * (image - _blurred(image, 1))


def shifted(image, rng) -> np.ndarray:
    """Move by 0.2 to 1.5 pixels in any direction."""
    length, angle = _log_uniform(rng, 0.2, 1.5), rng.uniform(0, 2 * np.pi)
    move = length * np.sin(angle), length * np.cos(angle), 0
    return ndimage.shift(image, move, order=3, mode="nearest")


def hue_rotated(image, rng) -> np.ndarray:
    """Rotate every pixel's colour, relative to its brightness, by 3 to 60 degrees."""
    mean = np.maximum(image.mean(axis=(0, 1)), 1e-6)
    relative = image / mean
    grey = relative.mean(axis=-1, keepdims=True)
    colour = relative - grey
    # In the plane of the two strongest colour changes; both are orthogonal to grey.
    flat = colour.reshape(-1, colour.shape[-1])
    plane = np.linalg.eigh(np.cov(flat.T))[1][:, -2:]
    angle = np.radians(_log_uniform(rng, 3, 60))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    in_plane = colour @ plane
    colour = colour + (in_plane @ turn.T - in_plane) @ plane.T
    return mean * (grey + colour)


def noisy(image, rng) -> np.ndarray:
    """Add white noise of 0.02 to 0.3 of each band's standard deviation."""
    strength = _log_uniform(rng, 0.02, 0.3) * image.std(axis=(0, 1))
    return image + strength * rng.standard_normal(image.shape)


DEGRADATIONS = {
    "too smooth": too_smooth,
    "too sharp": too_sharp,
    "shifted": shifted,
    "hue rotated": hue_rotated,
    "noisy": noisy,
}


def _blurred(image, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def _log_uniform(rng, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
