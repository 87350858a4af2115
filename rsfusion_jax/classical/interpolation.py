"""EXP: no fusion at all, the baseline that every method has to beat."""

from rsfusion_jax.classical.method import Method


def apply_exp(coefficients, pan, ms, lms, setting):
    """The enlarged MS itself."""
    return lms


METHODS = {"exp": Method(apply_exp, takes_guides=True)}
