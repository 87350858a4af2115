"""Scenes of `indices` whose truth is known, and what every index says of every method there."""

import functools
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import images
from benchmarks.studies import index_methods
from rsfusion_jax import metrics
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.data.synthetic.cameras import SLOTS, draw_camera
from rsfusion_jax.ops.resample import imresize
from rsfusion_jax.sensors import Sensor, get_sensor, select_bands

SATELLITES = ("wv2", "wv3", "wv4", "ge1", "qb", "ikonos")
CONDITIONS = ("ideal", "recorded", "shifted")
"""A perfect camera as in its record; one that deviates from it, with noise; PAN shifted as well."""
HELD_OUT, DEPLOYMENT = "held-out cameras", "real images"
_HELD_OUT_CAMERAS = 6
_RATIO = 4
_SHIFT = 0.7, 2.0
"""Range of the shift of PAN in its pixels, in the third condition."""
_REAL_SIDE = 128
"""Side of the four parts of each real image's MS."""
TRUE = {"ERGAS": -1, "SAM": -1, "Q2n": 1}
"""Measures against the truth, with the sign that makes higher better."""
INDICES = {
    "QNR": 1,
    "HQNR": 1,
    "D_lambda": -1,
    "D_lambda_K": -1,
    "D_s": -1,
    "R-ERGAS": -1,
    "R-SAM": -1,
    "R-Q2n": 1,
    "D_rho": -1,
}
"""Indices without a truth, with that sign."""


class Case(NamedTuple):
    """One scene: name, camera, the group it is counted in, its condition, how it is rendered."""

    name: str
    sensor: Sensor
    group: str
    condition: str
    index: int


def rendered_cases(count: int, held_out: int, seed: int) -> list[Case]:
    """Plan the rendered scenes.

    Args:
        count: scenes of each satellite.
        held_out: scenes of each camera whose bands no satellite has.
        seed: seed of these cameras.
    """
    cases = []
    for camera in SATELLITES:
        for index in range(count):
            condition = CONDITIONS[index % len(CONDITIONS)]
            cases.append(Case(f"{camera}_{index}", get_sensor(camera), camera, condition, index))
    for number in range(_HELD_OUT_CAMERAS):
        sensor = held_out_camera(number, seed)
        for index in range(held_out):
            name = f"camera{number}_{index}"
            # Other numbers than those of satellites: other scenes.
            place = 1000 * (number + 1) + index
            cases.append(Case(name, sensor, HELD_OUT, CONDITIONS[1 + index % 2], place))
    return cases


def held_out_camera(number: int, seed: int) -> Sensor:
    """Draw a camera of 4 or 8 bands that no satellite has."""
    rng = np.random.default_rng([seed, zlib.crc32(b"held-out cameras"), number])
    camera = draw_camera(rng, _RATIO)
    while camera.num_bands != SLOTS:  # the bands of a satellite
        camera = draw_camera(rng, _RATIO)
    chosen = np.sort(rng.choice(SLOTS, 4 if number % 2 else 8, replace=False))
    return select_bands(camera, [camera.bands[band] for band in chosen])


def render(case: Case, size: int, seed: int) -> dict[str, np.ndarray]:
    """Render the scene: pan, ms, lms and truth, in [0, 1]."""
    shift = None
    if case.condition == "shifted":
        rng = np.random.default_rng([seed, zlib.crc32(case.name.encode())])
        length, angle = rng.uniform(*_SHIFT), rng.uniform(0, 2 * np.pi)
        shift = length * np.array([np.sin(angle), np.cos(angle)])
    scenes = SyntheticScenes(
        case.sensor,
        num_scenes=case.index + 1,
        size=size,
        split="test",
        seed=seed + zlib.crc32(case.group.encode()),
        nuisances=case.condition != "ideal",
        resolution="full",
        pan_shift=shift,
    )
    sample = scenes[case.index]
    return {**sample, "truth": sample["truth_fr"]}


def real_cases(folder: Path) -> Iterator[tuple[Case, dict[str, np.ndarray]]]:
    """Degrade the real images by Wald's protocol and cut each into four parts."""
    for image, top in images.MAX_VALUES.items():
        pan, ms = images.read(folder, image)
        whole = slice(0, ms.shape[0])
        degraded = images.degraded(pan / top, ms / top, whole, whole, sensor=image)
        for part in range(4):
            corner = [_REAL_SIDE * (part // 2), _REAL_SIDE * (part % 2)]
            cut = {
                name: array[
                    tuple(slice(start // step, (start + _REAL_SIDE) // step) for start in corner)
                ]
                for name, array in degraded.items()
                for step in [_RATIO if name == "ms" else 1]
            }
            case = Case(f"real_{image}_{part}", get_sensor(image), DEPLOYMENT, "real", part)
            yield case, {**cut, "truth": cut["gt"]}


def measure(case: Case, sample: dict, fusers: dict, seed: int) -> dict:
    """Compute all true measures and all indices of all methods.

    Returns:
        "methods" and "controls", names; "values", a list for each measure and index with one
        value for each of them, the truth itself last; "d_rho_ms", D_rho of MS against PAN reduced
        to its grid; "name", "group" and "condition".
    """
    truth, pan, ms = (np.asarray(sample[name], np.float32) for name in ("truth", "pan", "ms"))
    fused = index_methods.fuse_all(sample, case.sensor, fusers)
    key = seed, zlib.crc32(case.name.encode())
    degraded = index_methods.controls(truth, fused[index_methods.GOOD], pan, key)
    stack = np.stack([*fused.values(), *degraded.values(), truth])
    lms = np.asarray(sample["lms"], np.float32)
    values = jax.device_get(_all_values(stack, truth, pan, ms, lms, case.sensor))
    return {
        **{field: getattr(case, field) for field in ("name", "group", "condition")},
        "bands": ms.shape[-1],
        "methods": list(fused),
        "controls": list(degraded),
        "values": {name: np.asarray(array, float).tolist() for name, array in values.items()},
        "d_rho_ms": float(metrics.d_rho(ms, imresize(pan, ms.shape[:2]), ratio=_RATIO)),
    }


@functools.partial(jax.jit, static_argnames="sensor")
def _all_values(stack, truth, pan, ms, lms, sensor):
    scale = {"ratio": _RATIO}
    optics = {"sensor": sensor, **scale}

    def values(fused):
        d_lambda = metrics.d_lambda(fused, ms, lms=lms, **scale)
        d_lambda_k = metrics.d_lambda_k(fused, ms, lms=lms, quantise=False, **optics)
        d_s = metrics.d_s(fused, ms, pan, lms=lms, **scale)
        return {
            "ERGAS": metrics.ergas(truth, fused, **scale),
            "SAM": metrics.sam(truth, fused),
            "Q2n": metrics.q2n(truth, fused, quantise=False),
            "QNR": (1 - d_lambda) * (1 - d_s),
            "HQNR": (1 - d_lambda_k) * (1 - d_s),
            "D_lambda": d_lambda,
            "D_lambda_K": d_lambda_k,
            "D_s": d_s,
            "R-ERGAS": metrics.r_ergas(fused, ms, **optics),
            "R-SAM": metrics.r_sam(fused, ms, **optics),
            "R-Q2n": metrics.r_q2n(fused, ms, quantise=False, **optics),
            "D_rho": metrics.d_rho(fused, pan, **scale),
        }

    return jax.lax.map(values, jnp.asarray(stack))


def stored(path: Path, compute) -> dict:
    """Return the rows of a scene from a file; compute and store them where it does not exist."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(compute()))
        unfinished.replace(path)
    return json.loads(path.read_text())
