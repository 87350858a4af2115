"""Softmax attention whose memory grows linearly with the number of tokens."""

import functools
import math

import jax
import jax.numpy as jnp

_MAX_LOGITS = {"cpu": 2**19}
"""Attention weights held at once per backend. On a CPU they should stay in its caches (2 MB in
float32): measured 1.5 to 2 times faster than blocks of 2**22, forward and backward."""
_MAX_LOGITS_ACCELERATOR = 2**26
"""Elsewhere few large blocks are better: 256 MB in float32."""


def attention(query, key, value, *, precision=None):
    """softmax(query key^T / sqrt(d)) value, one block of queries at a time.

    Each block sees every key, so the softmax is exact. The backward pass forms a block's weights
    again from the sums that the forward pass kept (T. Dao et al., FlashAttention, NeurIPS 2022):
    nothing quadratic in tokens is ever stored.

    Args:
        query: (B, N, heads, d).
        key: (B, M, heads, d).
        value: (B, M, heads, e).
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, N, heads, e) in the inputs' dtype; the softmax itself is at least float32.
    """
    batch, tokens, heads, d = query.shape
    held = _MAX_LOGITS.get(jax.default_backend(), _MAX_LOGITS_ACCELERATOR)
    block = max(1, min(tokens, held // (batch * heads * key.shape[1])))
    blocks = math.ceil(tokens / block)

    def by_head(x):
        return jnp.swapaxes(x, 1, 2).reshape(batch * heads, x.shape[1], -1)

    query = by_head(query / math.sqrt(d))
    query = jnp.pad(query, ((0, 0), (0, blocks * block - tokens), (0, 0)))
    out = _attend(query, by_head(key), by_head(value), block, precision)[:, :tokens]
    return jnp.swapaxes(out.reshape(batch, heads, tokens, -1), 1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(query, key, value, block, precision):
    """softmax(query key^T) value, (b, N, d) x (b, M, d) x (b, M, e) -> (b, N, e)."""
    return _forward(query, key, value, block, precision)[0]


def _forward(query, key, value, block, precision):
    def of_block(query):
        logits = _logits(query, key, precision)
        highest = logits.max(-1, keepdims=True)
        weights = _once(jnp.exp(logits - highest))
        total = weights.sum(-1, keepdims=True)
        out = _product("bnm,bme->bne", weights.astype(value.dtype), value, precision)
        return (out / total).astype(value.dtype), highest + jnp.log(total)

    out, log_total = map(_join, jax.lax.map(of_block, _split(query, block)))
    return out, (query, key, value, out, log_total)


def _backward(block, precision, kept, d_out):
    query, key, value, out, log_total = kept
    mean = (d_out.astype(log_total.dtype) * out).sum(-1, keepdims=True)

    # Sums over queries, at least float32, are kept transposed, (b, channels, M): their products
    # then run along rows of the weights, which is twice as fast on CPUs.
    def add_block(sums, given):
        d_key, d_value = sums
        query, d_out, log_total, mean = given
        weights = _once(jnp.exp(_logits(query, key, precision) - log_total))
        d_value += _product("bne,bnm->bem", d_out, weights.astype(d_out.dtype), precision)
        d_weights = _product("bne,bme->bnm", d_out, value, precision)
        d_logits = _once((weights * (d_weights - mean)).astype(query.dtype))
        d_key += _product("bnd,bnm->bdm", query, d_logits, precision)
        return (d_key, d_value), _product("bnm,bmd->bnd", d_logits, key, precision)

    start = tuple(jnp.zeros_like(jnp.swapaxes(x, 1, 2), log_total.dtype) for x in (key, value))
    given = tuple(_split(x, block) for x in (query, d_out, log_total, mean))
    sums, d_query = jax.lax.scan(add_block, start, given)
    d_key, d_value = (jnp.swapaxes(x, 1, 2).astype(key.dtype) for x in sums)
    return _join(d_query), d_key, d_value


_attend.defvjp(_forward, _backward)


def _logits(query, key, precision):
    logits = _product("bnd,bmd->bnm", query, key, precision)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _product(axes, a, b, precision):
    return jnp.einsum(axes, a, b, precision=precision)


def _split(x, block):
    """(b, blocks * block, c) -> (blocks, b, block, c)."""
    return jnp.moveaxis(x.reshape(x.shape[0], -1, block, x.shape[-1]), 1, 0)


def _join(x):
    """(blocks, b, block, c) -> (b, blocks * block, c)."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, x.shape[-1])


def _once(x):
    """Keeps XLA from computing `x` anew in everything that uses it, exponentials included."""
    return jax.lax.optimization_barrier(x)
