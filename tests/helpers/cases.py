"""Which of several cases run by default: one of them, the others in the job of slow tests."""

import pytest


def slow_but(first: str, names) -> list:
    """Parameters for `pytest.mark.parametrize`: all but `first` are marked slow."""
    names = list(names)
    assert first in names
    unpacked = [name if isinstance(name, tuple) else (name,) for name in names]
    return [n if n == first else slow(*u) for n, u in zip(names, unpacked, strict=True)]


def slow(*values):
    """A case of `pytest.mark.parametrize` that is marked slow."""
    return pytest.param(*values, marks=pytest.mark.slow)
