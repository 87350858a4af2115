"""Which of several cases run by default: one of them, the others in the job of slow tests."""

import pytest


def slow_but(first: str, names) -> list:
    """Parameters for `pytest.mark.parametrize`: all but `first` are marked slow."""
    names = list(names)
    assert first in names
    return [n if n == first else pytest.param(n, marks=pytest.mark.slow) for n in names]
