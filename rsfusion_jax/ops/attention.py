"""Softmax attention whose memory grows linearly with the number of tokens."""

import functools
import math

import jax
import jax.numpy as jnp

from rsfusion_jax.ops.by_device import by_device

_MAX_LOGITS = {"cpu": 2**19}
"""Attention weights held at once per backend. On a CPU they should stay in its caches (2 MB in
float32): measured 1.5 to 2 times faster than blocks of 2**22, forward and backward."""
_MAX_LOGITS_ACCELERATOR = 2**26
"""Elsewhere few large blocks are better: 256 MB in float32."""
_MAX_KEYS = {"cpu": 1024}
"""Keys taken at once per backend, elsewhere all: with 65,536 of them a block of 2**19 weights has
eight queries, and a product with eight rows reads all keys for little work."""


def attention(query, key, value, *, precision=None):
    """softmax(query key^T / sqrt(d)) value, one block of queries and keys at a time.

    The sums over a block of keys are scaled to those of all, so the softmax is exact. The backward
    pass forms a block's weights again from the sums that the forward pass kept (T. Dao et al.,
    FlashAttention, NeurIPS 2022): nothing quadratic in tokens is ever stored.

    On a CPU images and heads take turns: a block of one head has more rows than one of many, and a
    plain product uses all threads where a batch of them does not.

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
    in_turn = backend == "cpu"
    parts = math.ceil(key.shape[1] / _MAX_KEYS.get(backend, key.shape[1]))
    keys = math.ceil(key.shape[1] / parts)  # so that little is padded
    held = _MAX_LOGITS.get(backend, _MAX_LOGITS_ACCELERATOR)
    block = held // (keys if in_turn else batch * heads * keys)
    sizes = (max(1, min(tokens, block)), keys)

    def of_head(given):
        query, key, value = given
        return _attend(_padded(query, sizes[0]), key, value, sizes, precision)[:tokens]

    def of_heads(*given):
        return jax.lax.map(of_head, given) if in_turn else jax.vmap(of_head)(given)

    def by_head(x):
        return jnp.swapaxes(x, 1, 2).reshape(batch * heads, x.shape[1], -1)

    out = by_device(of_heads, by_head(query / math.sqrt(d)), by_head(key), by_head(value))
    return jnp.swapaxes(out.reshape(batch, heads, tokens, -1), 1, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(query, key, value, sizes, precision):
    """softmax(query key^T) value, (N, d) x (M, d) x (M, e) -> (N, e)."""
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
            out = _product("nm,me->ne", weights.astype(value.dtype), value, precision)
            return out / total, highest + jnp.log(total)

        out, log_total = sums
        part, log_part = map(_join, jax.lax.map(of_block, queries))
        log_both = jnp.logaddexp(log_total, log_part)
        out = out * jnp.exp(log_total - log_both) + part * jnp.exp(log_part - log_both)
        return (out, log_both), None

    dtype = jnp.promote_types(query.dtype, jnp.float32)
    start = (
        jnp.zeros((len(query), value.shape[-1]), dtype),
        jnp.full((len(query), 1), -jnp.inf, dtype),
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

        # Sums over queries, at least float32, are kept transposed, (channels, M): their products
        # then run along rows of the weights, which is twice as fast on CPUs.
        def add_block(sums, given):
            d_key, d_value = sums
            query, d_out, log_total, mean = given
            weights = _once(jnp.exp(_logits(query, key, absent, precision) - log_total))
            d_value += _product("ne,nm->em", d_out, weights.astype(d_out.dtype), precision)
            d_weights = _product("ne,me->nm", d_out, value, precision)
            d_logits = _once((weights * (d_weights - mean)).astype(query.dtype))
            d_key += _product("nd,nm->dm", query, d_logits, precision)
            return (d_key, d_value), _product("nm,md->nd", d_logits, key, precision)

        start = tuple(jnp.zeros_like(x.T, mean.dtype) for x in (key, value))
        sums, part = jax.lax.scan(add_block, start, queries)
        return d_query + _join(part), sums

    start = jnp.zeros_like(query, log_total.dtype)
    d_query, sums = jax.lax.scan(of_keys, start, _by_keys(key, value, sizes[1]))
    # (blocks, channels, keys) -> (M, channels)
    d_key, d_value = (_join(jnp.swapaxes(x, 1, 2))[: len(key)] for x in sums)
    return d_query.astype(query.dtype), d_key.astype(key.dtype), d_value.astype(value.dtype)


_attend.defvjp(_forward, _backward)


def _by_keys(key, value, block):
    """Blocks of keys, of values and, where the last one is padded, of what is added to logits."""
    absent = None
    if len(key) % block:
        present = jnp.zeros((len(key), 1), jnp.promote_types(key.dtype, jnp.float32))
        absent = jnp.swapaxes(_split(_padded(present, block, -jnp.inf), block), 1, 2)
    return *(_split(_padded(x, block), block) for x in (key, value)), absent


def _logits(query, key, absent, precision):
    logits = _product("nd,md->nm", query, key, precision)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return logits if absent is None else logits + absent


def _product(axes, a, b, precision):
    return jnp.einsum(axes, a, b, precision=precision)


def _padded(x, block, value=0):
    """(N, c) -> (N', c), N' a multiple of `block`."""
    return jnp.pad(x, ((0, -len(x) % block), (0, 0)), constant_values=value)


def _split(x, block):
    """(blocks * block, c) -> (blocks, block, c)."""
    return x.reshape(-1, block, x.shape[-1])


def _join(x):
    """(blocks, block, c) -> (blocks * block, c)."""
    return x.reshape(-1, x.shape[-1])


def _once(x):
    """Keeps XLA from computing `x` anew in everything that uses it, exponentials included."""
    return jax.lax.optimization_barrier(x)
