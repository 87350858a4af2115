"""The three scores of the published tables at reduced resolution."""

import numpy as np

import rsfusion_jax as rsf


def scores(truth, fused, ratio: int = 4) -> dict[str, float]:
    """Return SAM, ERGAS and Q2n of one image in counts."""
    return {
        "SAM": float(rsf.metrics.sam(truth, fused)),
        "ERGAS": float(rsf.metrics.ergas(truth, fused, ratio=ratio)),
        "Q2n": float(rsf.metrics.q2n(truth, fused)),
    }


def scores_and_errors(truth, fused, ratio: int = 4) -> dict:
    """Return the scores, and the root mean square error of each band in counts."""
    errors = np.sqrt(np.square(fused - truth).mean(axis=(0, 1)))
    return {**scores(truth, fused, ratio), "RMSE": [round(float(error), 2) for error in errors]}
