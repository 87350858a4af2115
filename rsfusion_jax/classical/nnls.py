"""Non-negative least squares, exact and inside compiled code."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from rsfusion_jax.classical.arithmetic import quotient
from rsfusion_jax.classical.least_squares import triangle
from rsfusion_jax.errors import UserError


@jax.custom_jvp
def non_negative_least_squares(regressors, targets):
    """(K, T) non-negative, minimising |regressors @ x - targets| for each target.

    The active-set method of Lawson, Hanson, "Solving least squares problems", 1974, chapter 23,
    on the triangular factor, so that conditioning is that of the images. It ends at the exact
    minimum after finitely many steps and, being one loop of fixed shapes, runs under jit and vmap.

    Args:
        regressors: (H, W, K) images.
        targets: (H, W, T) images.

    Raises:
        UserError: a derivative is asked for; the search has none.
    """
    factor, projected = triangle(regressors, targets)
    # Unit columns and unit targets: one tolerance serves every unit and every band.
    norms = jnp.sqrt((factor**2).sum(axis=0))
    lengths = jnp.sqrt((projected**2).sum(axis=0))
    solve = jax.vmap(_active_set, in_axes=(None, 1), out_axes=1)
    solution = solve(quotient(factor, norms), quotient(projected, lengths))
    return quotient(solution, norms[:, None]) * lengths


@non_negative_least_squares.defjvp
def _refuse_derivatives(primals, tangents):
    raise UserError(
        "this method fits non-negative weights by a search that has no derivative; differentiate "
        "another method, such as bdsd or gsa, or apply coefficients that were fitted before"
    )


class _State(NamedTuple):
    solution: jax.Array  # (K,) feasible
    free: jax.Array  # (K,) bool, which entries may differ from zero
    refused: jax.Array  # (K,) bool, entries that rounding alone would let in
    done: jax.Array
    count: jax.Array


def _active_set(matrix, target):
    """(K,) minimising |matrix @ x - target|, x >= 0, for unit columns and a unit target."""
    size = matrix.shape[1]
    tolerance = 10 * jnp.finfo(matrix.dtype).eps

    def step(state: _State) -> _State:
        trial = _least_squares(matrix, target, state.free)
        blocked = state.free & (trial <= 0)
        # Feasible: take the trial and free the entry whose growth helps most, if any does.
        gradient = _product(matrix.T, target - _product(matrix, trial))
        gradient = jnp.where(state.free | state.refused, 0, gradient)
        best = jnp.argmax(gradient)
        done = gradient[best] <= tolerance
        feasible = _State(
            trial,
            state.free | (~done & (jnp.arange(size) == best)),
            state.refused & jnp.all(trial == state.solution),
            done,
            state.count + 1,
        )
        # Blocked: go towards the trial until the first entry reaches zero, and bind it there.
        share = jnp.where(blocked, quotient(state.solution, state.solution - trial), 1)
        reach = share.min()
        free = state.free & ~(blocked & (share <= reach))
        partial = _State(
            jnp.where(free, state.solution + reach * (trial - state.solution), 0),
            free,
            state.refused | (blocked & (state.solution <= 0)),
            jnp.asarray(False),
            state.count + 1,
        )
        go_on = jnp.any(blocked)
        return jax.tree.map(lambda a, b: jnp.where(go_on, a, b), partial, feasible)

    none = jnp.zeros(size, bool)
    start = _State(jnp.zeros(size, matrix.dtype), none, none, jnp.asarray(False), jnp.asarray(0))
    # Twice through all entries is ample; the bound only keeps rounding from cycling for ever.
    limit = 10 * size
    return jax.lax.while_loop(lambda s: ~s.done & (s.count < limit), step, start).solution


def _least_squares(matrix, target, free):
    """(K,) unconstrained minimum over the free entries, the others zero."""
    size = matrix.shape[1]
    # Gram-Schmidt over the free columns alone: they are few, and no factorisation of K columns
    # has to run for each of many targets. Orthogonalised twice it is as accurate as Householder's.
    order = jnp.argsort(~free, stable=True)

    def add(index, factors):
        q, r = factors
        place = jnp.arange(size) == index
        column = matrix[:, order[index]]
        first = _product(q.T, column)
        rest = column - _product(q, first)
        second = _product(q.T, rest)
        rest = rest - _product(q, second)
        norm = jnp.sqrt((rest**2).sum())
        # A column that adds nothing gets a diagonal of one and ends with an entry of zero.
        diagonal = jnp.where(norm > 0, norm, 1)
        entries = jnp.where(place, diagonal, first + second)
        return jnp.where(place, (rest / diagonal)[:, None], q), jnp.where(
            place, entries[:, None], r
        )

    start = jnp.zeros_like(matrix), jnp.eye(size, dtype=matrix.dtype)
    q, r = jax.lax.fori_loop(0, free.sum(), add, start)
    solution = solve_triangular(r, _product(q.T, target))
    return jnp.where(free, solution[jnp.argsort(order)], 0)


def _product(matrix, vector):
    return jnp.matmul(matrix, vector, precision="highest")
