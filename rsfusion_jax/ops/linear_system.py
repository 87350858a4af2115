"""Small systems of linear equations, one for every pixel, by arithmetic on whole images."""

import jax.numpy as jnp

_SMALLEST = 1e-20
"""Least squared pivot: a matrix that rounding made singular still gives finite numbers."""


def solve_positive(matrix, right):
    """Solves M x = b for a symmetric positive definite M of G x G images (Cholesky).

    Written out over the G rows, since the libraries' solvers treat one pixel after another.

    Args:
        matrix: rows of M up to the diagonal: row i is a list of i + 1 arrays.
        right: b, a list of G arrays that broadcast with those of M.

    Returns:
        x, a list of G arrays.
    """
    count = len(right)
    lower = []
    for i in range(count):
        row = []
        for j in range(i + 1):
            rest = matrix[i][j] - sum(a * b for a, b in zip(row, [*lower, row][j], strict=False))
            pivot = i == j
            row.append(jnp.sqrt(jnp.maximum(rest, _SMALLEST)) if pivot else rest / lower[j][j])
        lower.append(row)
    forward = []
    for i in range(count):
        known = sum(a * b for a, b in zip(lower[i], forward, strict=False))
        forward.append((right[i] - known) / lower[i][i])
    solution = [None] * count
    for i in reversed(range(count)):
        known = sum(lower[k][i] * solution[k] for k in range(i + 1, count))
        solution[i] = (forward[i] - known) / lower[i][i]
    return solution
