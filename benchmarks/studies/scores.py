"""The three scores of the published tables at reduced resolution."""

import rsfusion_jax as rsf


def scores(truth, fused, ratio: int = 4) -> dict[str, float]:
    """Return SAM, ERGAS and Q2n of one image in counts."""
    return {
        "SAM": float(rsf.metrics.sam(truth, fused)),
        "ERGAS": float(rsf.metrics.ergas(truth, fused, ratio=ratio)),
        "Q2n": float(rsf.metrics.q2n(truth, fused)),
    }
