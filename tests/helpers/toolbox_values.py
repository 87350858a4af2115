"""What the toolbox printed, number by number, and the call of ours that must give the same.

A number is named by its path in the goldens' `values.json`, e.g.
`("methods", "wv2_96", "GSA", "cut1", "ERGAS")`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsfusion_jax import metrics

SCENES = {"wv2": "wv2", "wv3": "wv3", "ge1": "ge1", "ik": "ikonos"}
"""Full-resolution scenes and their sensors."""

LEFT_OUT = {
    "meta": "how the numbers were made",
    "shape": "of the inputs",
    "ratio": "of the inputs",
    "L_used": "of the inputs",
    "const": "of the inputs",
    "sensor": "of the inputs",
    "seed_python": "another program, whose definitions differ",
    "hyperspectral_toolbox_python": "another program, whose definitions differ",
    "legacy_python(Dif-PAN, Efficient-MIF)": "another program, whose definitions differ",
    "primitive_checks_FS_index_vs_toolbox": "another program against the toolbox",
    "CC_all_samples": "Octave's corr of all bands together; no toolbox has it",
    "q2n_b64_s64": "none on wv3_32: 32 pixels cannot be mirrored to a block of 64",
}
"""Keys without a call of ours, and why; a case that has one is compared nevertheless."""


class Value(NamedTuple):
    """One number or one per band; `call(precision)` is ours."""

    path: tuple[str, ...]
    call: Callable
    expected: object


def load(folder: Path) -> dict:
    """The whole `values.json`."""
    return json.loads((folder / "values.json").read_text())


def leaves(tree, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of everything that is no mapping."""
    if isinstance(tree, dict):
        for key, branch in tree.items():
            yield from leaves(branch, (*path, key))
    else:
        yield path


def bands_last(image: np.ndarray) -> np.ndarray:
    """(H, W) and (H, W, C) as (H, W, C)."""
    return image if image.ndim == 3 else image[..., None]


def indices(gt, fused, ratio: int = 4, rounding=None) -> dict[str, Callable]:
    """`indexes_evaluation` of one pair by its names, each a function of the precision."""
    return {
        "SAM": lambda p: metrics.sam(gt, fused, precision=p),
        "ERGAS": lambda p: metrics.ergas(gt, fused, ratio=ratio, precision=p),
        "SCC": lambda p: metrics.scc(gt, fused, precision=p),
        "Q2n": lambda p: metrics.q2n(gt, fused, quantise=rounding, precision=p),
        "Q_avg": lambda p: np.mean(metrics.q(gt, fused, per_band=True, precision=p)),
    }


def reduced(name: str, entry: dict, folder: Path) -> Iterator[Value]:
    """Every value of one case of `rr_metrics`."""
    arrays = np.load(folder / f"case_{name}.npz")
    gt = bands_last(arrays["ref"])
    fused = bands_last(arrays["fus"]) if "fus" in arrays else gt  # left out where it is the same
    full_scale = 2.0 ** int(arrays["L"])
    rounding = True if name == "hs31_64_01" else None  # the toolbox rounds [0, 1] data too
    root = ("rr_metrics", name)
    branch = "toolbox_indexes_evaluation(block32,dim_cut21)"
    for variant, values in entry[branch].items():
        cut = 21 if "cut1" in variant else 0
        x, y = (metrics.cut_border(image, cut) for image in (gt, fused))
        y = np.clip(y, 0, full_scale) if "th1" in variant else y
        for key, call in indices(x, y, entry["ratio"], rounding).items():
            yield Value((*root, branch, variant, key), call, values[key])
    for key, value in entry["toolbox_q2n_other_blocks"].items():
        if value == "nan":
            assert (name, key) == ("wv3_32_exp", "q2n_b64_s64")
            continue
        sizes = {"block": int(key.split("_")[1][1:]), "shift": int(key.split("_")[2][1:])}
        yield Value(
            (*root, "toolbox_q2n_other_blocks", key),
            lambda p, sizes=sizes: metrics.q2n(gt, fused, quantise=rounding, precision=p, **sizes),
            value,
        )
    yield Value(
        (*root, "toolbox1.0_sCC"),
        lambda p: metrics.scc(gt, fused, version="1.0", precision=p),
        entry["toolbox1.0_sCC"],
    )

    def per_band(metric, **options):
        return lambda p: metric(gt, fused, per_band=True, precision=p, **options)

    def mean(call, power=1):
        return lambda p: np.mean(call(p) ** power) ** (1 / power)

    structure = per_band(metrics.ssim_toolbox, data_range=full_scale)
    correlation, error = per_band(metrics.cc), per_band(metrics.rmse)
    scale = {"data_range": entry["efficient_mif_quality_assess"]["const"]}
    for branch, calls in {
        "toolbox_ssim.m": {
            "per_band": structure,
            "mean_over_bands(K=[.01 .03],gauss11 s1.5,L=2^L)": mean(structure),
        },
        "plain_octave": {
            "CC_per_band": correlation,
            "CC_mean_over_bands(corr2)": mean(correlation),
            "RMSE_per_band": error,
            "RMSE_all_samples": mean(error, 2),
        },
        "efficient_mif_quality_assess": {
            "ssim": lambda p: metrics.ssim(gt, fused, precision=p, **scale),
            "psnr": lambda p: metrics.psnr_band_mean(gt, fused, precision=p, **scale),
        },
    }.items():
        for key, call in calls.items():
            yield Value((*root, branch, key), call, entry[branch][key])
    windows = per_band(metrics.q)
    yield Value((*root, "maps", "q_band"), windows, np.atleast_1d(arrays["q_band"]))


def methods(name: str, table: dict, folder: Path) -> Iterator[Value]:
    """Every value of one set of `methods`: the metrics of the toolbox's own outputs."""
    arrays = np.load(folder / f"methods_{name}.npz")
    for method, variants in table.items():
        # EXP's metrics, too, are of its float32 image.
        image = arrays["lms" if method == "EXP" else f"out_{method}"].astype(np.float32)
        for variant, values in variants.items():
            pair = (metrics.cut_border(x, 21 * (variant == "cut1")) for x in (arrays["GT"], image))
            for key, call in indices(*pair).items():
                yield Value(("methods", name, method, variant, key), call, values[key])


def _full_calls() -> dict[str, Callable]:
    common = {"ratio": 4, "wrap": True}  # as the toolbox computes
    paper, first = {"original": True, **common}, {"version": "1.0", **common}

    def d_lambda(**options):
        return lambda f, m, p, lms, sensor: metrics.d_lambda(f, m, lms=lms, **options)

    def d_s(**options):
        return lambda f, m, p, lms, sensor: metrics.d_s(f, m, p, lms=lms, **options)

    def qnr(**options):
        return lambda f, m, p, lms, sensor: metrics.qnr(f, m, p, lms=lms, **options)

    return {
        "D_lambda": d_lambda(**common),
        "D_lambda_p2": d_lambda(p=2, **common),
        "paper_D_lambda": d_lambda(**paper),
        "T1_D_lambda": d_lambda(**common),
        "D_S": d_s(**common),
        "D_S_q2": d_s(q=2, **common),
        "paper_D_S": d_s(**paper),
        "T1_D_S": lambda f, m, p, lms, sensor: metrics.d_s(
            f, m, p, lms=lms, sensor=sensor, **first
        ),
        "QNR": qnr(**common),
        "QNR_p2q2": qnr(p=2, q=2, **common),
        "T1_QNR": lambda f, m, p, lms, sensor: metrics.qnr(
            f, m, p, lms=lms, sensor=sensor, **first
        ),
        "D_lambda_K": lambda f, m, p, lms, sensor: metrics.d_lambda_k(
            f, m, lms=lms, sensor=sensor, **common
        ),
        "HQNR": lambda f, m, p, lms, sensor: metrics.hqnr(
            f, m, p, lms=lms, sensor=sensor, **common
        ),
    }


FULL = _full_calls()
"""Every key of `fr_metrics` as a function of (fused, ms, pan, lms, sensor)."""


def full_paths(table: dict) -> Iterator[tuple[str, ...]]:
    """Paths of what `FULL` computes."""
    for name, entry in table.items():
        for method, values in entry.items():
            if isinstance(values, dict) and "toolbox" in values:
                yield from (("fr_metrics", name, method, "toolbox", key) for key in FULL)
