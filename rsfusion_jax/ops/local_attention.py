"""Softmax attention of every pixel to the window around it, without unfolding the windows."""

import functools

import jax
import jax.numpy as jnp

# The functions below work on planes (d, B heads, pixels): the short axis of components comes first
# and is written out, and the rows of an image, each followed by what lies beyond its border, form
# one long axis. A step of the window is then one offset along it, the same for all pixels, so that
# everything is element-wise over long contiguous pieces.


def local_attention(query, key, value, window: int):
    """Attend to a window: out(p) = sum_o softmax_o(query(p) . key(p + o)) value(p + o).

    `key` and `value` are reflected at the border. The rows of the window are processed one after
    the other, first for the highest logit, then for the sums, and again in the backward pass: at
    any time memory holds pixels x side of the window, not pixels x window.

    Args:
        query: (B, H, W, heads, d), already scaled.
        key: (B, H, W, heads, d).
        value: (B, H, W, heads, d).
        window: odd side of the window in pixels; H and W must exceed half of it.

    Returns:
        (B, H, W, heads, d) in the inputs' dtype; the softmax itself is at least float32.
    """
    dtype = query.dtype
    at_least = jnp.promote_types(dtype, jnp.float32)
    batch, height, width, heads, components = query.shape
    reach = window // 2

    def planes(image, rows, columns, mode):
        image = jnp.moveaxis(image.astype(at_least), (0, 3, 4), (1, 2, 0))
        image = jnp.pad(image, ((0, 0),) * 3 + (rows, columns), mode=mode)
        return image.reshape(components, batch * heads, -1)

    around = (reach, reach)
    query = planes(query, (0, 0), (0, 2 * reach), "constant")
    # The last pixels behind the image's rows look beyond the end.
    key, value = (_pad(planes(x, around, around, "reflect"), 0, 2 * reach) for x in (key, value))
    out = _attend(query, key, value, window, width + 2 * reach)
    out = out.reshape(components, batch, heads, height, -1)[..., :width]
    return jnp.moveaxis(out, (1, 2, 0), (0, 3, 4)).astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(query, key, value, window, stride):
    """Pixel p of `query` sees row * stride + column + p of `key`, row and column below `window`."""
    return _forward(query, key, value, window, stride)[0]


def _forward(query, key, value, window, stride):
    """The result and what the backward pass needs: log of the softmax's denominator."""
    length = query.shape[-1]
    steps = _steps(length, window)

    def logits(row):
        keys = _row(key, row, stride, length + window - 1)
        return [_dot(query, keys[..., step]) for step in steps]

    def raise_highest(row, highest):
        return functools.reduce(jnp.maximum, logits(row), highest)

    lowest = jnp.full_like(query[0], -jnp.inf)
    highest = jax.lax.fori_loop(0, window, raise_highest, lowest)

    def add_row(row, carry):
        total, sums = carry
        values = _row(value, row, stride, length + window - 1)
        weights = _once(jnp.exp(jnp.stack(logits(row)) - highest))
        total = _sum(weights, total)
        sums = _sum((w * values[..., step] for w, step in zip(weights, steps, strict=True)), sums)
        return total, sums

    start = jnp.zeros_like(query[0]), jnp.zeros_like(query)
    total, sums = jax.lax.fori_loop(0, window, add_row, start)
    out = sums / total
    return out, (query, key, value, out, highest + jnp.log(total))


def _backward(window, stride, residuals, d_out):
    query, key, value, out, log_total = residuals
    length, more = query.shape[-1], window - 1
    d_start = jnp.zeros_like(key), jnp.zeros_like(value)
    # Pixels of no weight on both sides: what a key receives is then a sum over shifted pieces too.
    mean, log_total = _pad(_dot(d_out, out), more, more), _pad(log_total, more, more, jnp.inf)
    query, key, value, d_out = (_pad(x, more, more) for x in (query, key, value, d_out))
    steps = _steps(length + 2 * more, window)
    steps_back = _steps(length + more, window)[::-1]

    def add_row(row, carry):
        d_query, d_key, d_value = carry
        keys, values = (_row(x, row, stride, length + 3 * more) for x in (key, value))
        logits = jnp.stack([_dot(query, keys[..., step]) for step in steps])
        weights = _once(jnp.exp(logits - log_total))
        d_weights = jnp.stack([_dot(d_out, values[..., step]) for step in steps])
        d_logits = _once(weights * (d_weights - mean))
        d_query = _sum(
            (d * keys[..., step] for d, step in zip(d_logits, steps, strict=True)), d_query
        )

        def add_received(sums, factors, images):
            pieces = zip(factors, steps_back, strict=True)
            old = _row(sums, row, stride, length + more)
            new = _sum((factor[..., step] * images[..., step] for factor, step in pieces), old)
            return jax.lax.dynamic_update_slice_in_dim(sums, new, row * stride, axis=2)

        d_key = add_received(d_key, d_logits, query)
        return d_query, d_key, add_received(d_value, weights, d_out)

    start = jnp.zeros_like(query), *d_start
    d_query, d_key, d_value = jax.lax.fori_loop(0, window, add_row, start)
    return d_query[..., more : more + length], d_key, d_value


_attend.defvjp(_forward, _backward)


def _steps(length, window):
    """Slices of `length` from 0, 1, ...: the columns of a window."""
    return [slice(first, first + length) for first in range(window)]


def _row(x, row, stride, length):
    return jax.lax.dynamic_slice_in_dim(x, row * stride, length, axis=2)


def _pad(x, before, after, value=0.0):
    return jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((before, after),), constant_values=value)


def _dot(a, b):
    """Sum over the components, (d, ...) x (d, ...) -> (...)."""
    return functools.reduce(jnp.add, (a[i] * b[i] for i in range(a.shape[0])))


def _sum(terms, start):
    return functools.reduce(jnp.add, terms, start)


def _once(x):
    """Keep XLA from computing `x` again in everything that uses it, exponentials included."""
    return jax.lax.optimization_barrier(x)
