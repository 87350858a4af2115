"""Softmax attention of every pixel to the window around it, without unfolding the windows."""

import functools

import jax
import jax.numpy as jnp

# The functions below work on planes (d, B, heads, H, W): the short axis of components comes first
# and is written out, so that everything else is element-wise along rows of pixels.


def local_attention(query, key, value, window: int):
    """out(p) = sum_o softmax_o(query(p) . key(p + o)) value(p + o), o over the window around p.

    `key` and `value` continue beyond the border by reflection. Offsets are visited one row after
    the other with a running softmax, and the backward pass visits them again: nothing of size
    pixels x window is stored.

    Args:
        query: (B, H, W, heads, d), already scaled.
        key, value: (B, H, W, heads, d).
        window: odd side of the window; H and W exceed half of it.

    Returns:
        (B, H, W, heads, d) in the inputs' dtype; the softmax itself is at least float32.
    """
    dtype = query.dtype
    at_least = jnp.promote_types(dtype, jnp.float32)
    query, key, value = (
        jnp.moveaxis(x.astype(at_least), (0, 3, 4), (1, 2, 0)) for x in (query, key, value)
    )
    reach = window // 2
    widths = ((0, 0),) * 3 + ((reach, reach),) * 2
    key, value = (jnp.pad(x, widths, mode="reflect") for x in (key, value))
    out = _attend(query, key, value, window)
    return jnp.moveaxis(out, (1, 2, 0), (0, 3, 4)).astype(dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _attend(query, key, value, window):
    return _forward(query, key, value, window)[0]


def _forward(query, key, value, window):
    """The result and what the backward pass needs: log of the softmax's denominator."""
    height, width = query.shape[-2:]

    def add_row(row, carry):
        highest, total, sums = carry
        keys, values = (_rows(x, row, height) for x in (key, value))
        logits = [_dot(query, keys[..., x : x + width]) for x in range(window)]
        new = functools.reduce(jnp.maximum, logits, highest)
        total, sums = total * jnp.exp(highest - new), sums * jnp.exp(highest - new)
        for x, logit in enumerate(logits):
            weight = jnp.exp(logit - new)
            total, sums = total + weight, sums + weight * values[..., x : x + width]
        return new, total, sums

    lowest = jnp.full_like(query[0], -jnp.inf)
    start = lowest, jnp.zeros_like(query[0]), jnp.zeros_like(query)
    highest, total, sums = jax.lax.fori_loop(0, window, add_row, start)
    out = sums / total
    return out, (query, key, value, out, highest + jnp.log(total))


def _backward(window, kept, d_out):
    query, key, value, out, log_total = kept
    height, width = query.shape[-2:]
    mean = _dot(d_out, out)

    def add_row(row, carry):
        d_query, d_key, d_value = carry
        keys, values = (_rows(x, row, height) for x in (key, value))
        d_keys, d_values = (_rows(x, row, height) for x in (d_key, d_value))
        for x in range(window):
            here = slice(x, x + width)
            weight = jnp.exp(_dot(query, keys[..., here]) - log_total)
            d_logit = weight * (_dot(d_out, values[..., here]) - mean)
            d_query = d_query + d_logit * keys[..., here]
            d_keys = d_keys.at[..., here].add(d_logit * query)
            d_values = d_values.at[..., here].add(weight * d_out)
        place = functools.partial(jax.lax.dynamic_update_slice_in_dim, start_index=row, axis=3)
        return d_query, place(d_key, d_keys), place(d_value, d_values)

    start = jnp.zeros_like(query), jnp.zeros_like(key), jnp.zeros_like(value)
    return jax.lax.fori_loop(0, window, add_row, start)


_attend.defvjp(_forward, _backward)


def _rows(x, first, height):
    return jax.lax.dynamic_slice_in_dim(x, first, height, axis=3)


def _dot(a, b):
    """Sum over the components, (d, ...) x (d, ...) -> (...)."""
    return functools.reduce(jnp.add, (a[i] * b[i] for i in range(a.shape[0])))
