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
_MAX_KEYS = {"cpu": 512}
"""Keys taken at once per backend, elsewhere all: with 65,536 of them and two heads a block of
2**19 weights has four queries, and a product with four rows reads all keys for little work."""


def attention(query, key, value, *, precision=None):
    """softmax(query key^T / sqrt(d)) value, one block of queries and keys at a time.

    The sums over a block of keys are scaled to those of all, so the softmax is exact. The backward
    pass forms a block's weights again from the sums that the forward pass kept (T. Dao et al.,
    FlashAttention, NeurIPS 2022): nothing quadratic in tokens is ever stored.

    Args:
        query: (B, N, heads, d).
        key: (B, M, heads, d).
        value: (B, M, heads, e).
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, N, heads, e) in the inputs' dtype; the softmax itself is at least float32.
    """
    batch, tokens, heads, d = query.shape
    backend = jax.default_backend()
    parts = math.ceil(key.shape[1] / _MAX_KEYS.get(backend, key.shape[1]))
    keys = math.ceil(key.shape[1] / parts)  # so that little is padded
    held = _MAX_LOGITS.get(backend, _MAX_LOGITS_ACCELERATOR)
    block = max(1, min(tokens, held // (batch * heads * keys)))

    def by_head(x):
        return jnp.swapaxes(x, 1, 2).reshape(batch * heads, x.shape[1], -1)

    query = _padded(by_head(query / math.sqrt(d)), block)
    out = _attend(query, by_head(key), by_head(value), (block, keys), precision)[:, :tokens]
    return jnp.swapaxes(out.reshape(batch, heads, tokens, -1), 1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(query, key, value, sizes, precision):
    """softmax(query key^T) value, (b, N, d) x (b, M, d) x (b, M, e) -> (b, N, e)."""
    return _forward(query, key, value, sizes, precision)[0]


def _forward(query, key, value, sizes, precision):
    queries = _split(query, sizes[0])

    def add_keys(sums, given):
        key, value, absent = given

        def of_block(query):
            logits = _logits(query, key, absent, precision)
            highest = logits.max(-1, keepdims=True)
            weights = _once(jnp.exp(logits - highest))
            total = weights.sum(-1, keepdims=True)
            out = _product("bnm,bme->bne", weights.astype(value.dtype), value, precision)
            return out / total, highest + jnp.log(total)

        out, log_total = sums
        part, log_part = map(_join, jax.lax.map(of_block, queries))
        log_both = jnp.logaddexp(log_total, log_part)
        out = out * jnp.exp(log_total - log_both) + part * jnp.exp(log_part - log_both)
        return (out, log_both), None

    dtype = jnp.promote_types(query.dtype, jnp.float32)
    start = (
        jnp.zeros((*query.shape[:2], value.shape[-1]), dtype),
        jnp.full((*query.shape[:2], 1), -jnp.inf, dtype),
    )
    (out, log_total), _ = jax.lax.scan(add_keys, start, _by_keys(key, value, sizes[1]))
    out = out.astype(value.dtype)
    return out, (query, key, value, out, log_total)


def _backward(sizes, precision, kept, d_out):
    query, key, value, out, log_total = kept
    mean = (d_out.astype(log_total.dtype) * out).sum(-1, keepdims=True)
    queries = tuple(_split(x, sizes[0]) for x in (query, d_out, log_total, mean))

    def of_keys(d_query, given):
        key, value, absent = given

        # Sums over queries, at least float32, are kept transposed, (b, channels, M): their products
        # then run along rows of the weights, which is twice as fast on CPUs.
        def add_block(sums, given):
            d_key, d_value = sums
            query, d_out, log_total, mean = given
            weights = _once(jnp.exp(_logits(query, key, absent, precision) - log_total))
            d_value += _product("bne,bnm->bem", d_out, weights.astype(d_out.dtype), precision)
            d_weights = _product("bne,bme->bnm", d_out, value, precision)
            d_logits = _once((weights * (d_weights - mean)).astype(query.dtype))
            d_key += _product("bnd,bnm->bdm", query, d_logits, precision)
            return (d_key, d_value), _product("bnm,bmd->bnd", d_logits, key, precision)

        start = tuple(jnp.zeros_like(jnp.swapaxes(x, 1, 2), mean.dtype) for x in (key, value))
        sums, part = jax.lax.scan(add_block, start, queries)
        return d_query + _join(part), sums

    start = jnp.zeros_like(query, log_total.dtype)
    d_query, sums = jax.lax.scan(of_keys, start, _by_keys(key, value, sizes[1]))
    # (blocks, b, channels, keys) -> (b, M, channels)
    d_key, d_value = (_join(jnp.swapaxes(x, 2, 3))[:, : key.shape[1]] for x in sums)
    return d_query.astype(query.dtype), d_key.astype(key.dtype), d_value.astype(value.dtype)


_attend.defvjp(_forward, _backward)


def _by_keys(key, value, block):
    """Blocks of keys, of values and, where the last one is padded, of what is added to logits."""
    absent = None
    if key.shape[1] % block:
        present = jnp.zeros((1, key.shape[1], 1), jnp.promote_types(key.dtype, jnp.float32))
        absent = jnp.swapaxes(_split(_padded(present, block, -jnp.inf), block), 2, 3)
    return *(_split(_padded(x, block), block) for x in (key, value)), absent


def _logits(query, key, absent, precision):
    logits = _product("bnd,bmd->bnm", query, key, precision)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return logits if absent is None else logits + absent


def _product(axes, a, b, precision):
    return jnp.einsum(axes, a, b, precision=precision)


def _padded(x, block, value=0):
    """(b, N, c) -> (b, N', c), N' a multiple of `block`."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % block), (0, 0)), constant_values=value)


def _split(x, block):
    """(b, blocks * block, c) -> (blocks, b, block, c)."""
    return jnp.moveaxis(x.reshape(x.shape[0], -1, block, x.shape[-1]), 1, 0)


def _join(x):
    """(blocks, b, block, c) -> (b, blocks * block, c)."""
    return jnp.moveaxis(x, 0, 1).reshape(x.shape[1], -1, x.shape[-1])


def _once(x):
    """Keeps XLA from computing `x` anew in everything that uses it, exponentials included."""
    return jax.lax.optimization_barrier(x)
