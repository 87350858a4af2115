"""Softmax attention whose memory grows linearly with the number of tokens."""

import functools
import math

import jax
import jax.numpy as jnp

from rsfusion_jax.ops.by_device import by_device
from rsfusion_jax.ops.cpu.schedule import attention_blocks
from rsfusion_jax.ops.cudnn_attention import cudnn_attention, is_offered

_MOST_WEIGHTS = 2**26
"""Attention weights per block on accelerators, all heads together: 256 MB in float32."""


def attention(query, key, value):
    """Compute softmax(query key^T / sqrt(d)) value, one block of queries and keys at a time.

    The sums over one block of keys are rescaled to those over all, so the softmax is exact. The
    backward pass computes a block's weights again from the sums that the forward pass stored: what
    is quadratic in tokens never exists as a whole.

    NVIDIA's GPUs use cuDNN's attention where it is offered: in bfloat16 and float16. Other
    accelerators, and float32, process all heads and all keys of a device together, in few large
    blocks. On CPUs images and heads are processed one after the other, in blocks that fit the
    caches: a block of one head has more rows than one of many heads, and one product uses all
    threads where a batch of products does not.

    T. Dao et al., "FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
    NeurIPS 2022.

    Args:
        query: (B, N, heads, d).
        key: (B, M, heads, d).
        value: (B, M, heads, e).

    Returns:
        (B, N, heads, e) in the inputs' dtype; the softmax itself is at least float32.
    """
    library = {"cuda": cudnn_attention} if is_offered(query, key, value) else {}

    def of_images(*images):
        return jax.lax.platform_dependent(*images, **library, default=_by_blocks)

    return by_device(of_images, query, key, value)


def _by_blocks(query, key, value):
    """Compute `attention` in our own blocks; arguments as for `attention`."""
    batch, tokens, heads, d = query.shape

    def by_head(x):
        return jnp.swapaxes(x, 1, 2).reshape(batch * heads, x.shape[1], -1)

    out = _attend(by_head(query / math.sqrt(d)), by_head(key), by_head(value))
    return jnp.swapaxes(out.reshape(batch, heads, tokens, -1), 1, 2)


@jax.custom_vjp
def _attend(query, key, value):
    """softmax(query key^T) value of every head, (heads, N, d) x (heads, M, d) x (heads, M, e)."""
    return _attend_fwd(query, key, value)[0]


def _attend_fwd(query, key, value):
    out, log_total = _over_heads(_forward, query, key, value)
    return out, (query, key, value, out, log_total)


def _attend_bwd(residuals, d_out):
    query, key, value, out, log_total = residuals
    mean = (d_out.astype(log_total.dtype) * out).sum(-1, keepdims=True)
    return _over_heads(_backward, query, key, value, d_out, log_total, mean)


_attend.defvjp(_attend_fwd, _attend_bwd)


def _over_heads(function, query, key, *arrays):
    """`function(block sizes, query, key, *arrays)` of every head, as the platform needs it."""
    heads, num_queries, _ = query.shape
    num_keys = key.shape[1]

    def one_by_one(*arrays):
        sizes = attention_blocks(num_queries, num_keys)
        return jax.lax.map(lambda of_head: function(sizes, *of_head), arrays)

    def together(*arrays):
        queries = max(1, min(num_queries, _MOST_WEIGHTS // (heads * num_keys)))
        return jax.vmap(functools.partial(function, (queries, num_keys)))(*arrays)

    return jax.lax.platform_dependent(query, key, *arrays, cpu=one_by_one, default=together)


def _forward(sizes, query, key, value):
    """One head: (N, d) x (M, d) x (M, e) -> (N, e) and the log of the softmax's denominators."""
    queries = _split(query, sizes[0])

    def add_keys(sums, block):
        key, value, absent = block

        def of_queries(query):
            logits = _logits(query, key, absent)
            highest = logits.max(-1, keepdims=True)
            weights = _once(jnp.exp(logits - highest))
            total = weights.sum(-1, keepdims=True)
            out = jnp.einsum("nm,me->ne", weights.astype(value.dtype), value)
            return out / total, highest + jnp.log(total)

        out, log_total = sums
        part, log_part = (_join(x, len(query)) for x in jax.lax.map(of_queries, queries))
        log_both = jnp.logaddexp(log_total, log_part)
        out = out * jnp.exp(log_total - log_both) + part * jnp.exp(log_part - log_both)
        return (out, log_both), None

    dtype = jnp.promote_types(query.dtype, jnp.float32)
    start = (
        jnp.zeros((len(query), value.shape[-1]), dtype),
        jnp.full((len(query), 1), -jnp.inf, dtype),
    )
    (out, log_total), _ = jax.lax.scan(add_keys, start, _by_keys(key, value, sizes[1]))
    return out.astype(value.dtype), log_total


def _backward(sizes, query, key, value, d_out, log_total, mean):
    """One head: gradients of query, key and value; `mean` is the sum of d_out * out, (N, 1)."""
    # Padded queries, keys and values are zero and so is their d_out: they add nothing to the sums.
    queries = tuple(_split(x, sizes[0]) for x in (query, d_out, log_total, mean))

    def of_keys(d_query, block):
        key, value, absent = block

        # Sums over queries, at least float32, are stored transposed, (channels, M): their products
        # then run along rows of the weights, which is twice as fast on CPUs.
        def add_queries(sums, block):
            d_key, d_value = sums
            query, d_out, log_total, mean = block
            weights = _once(jnp.exp(_logits(query, key, absent) - log_total))
            d_value += jnp.einsum("ne,nm->em", d_out, weights.astype(d_out.dtype))
            d_weights = jnp.einsum("ne,me->nm", d_out, value)
            d_logits = _once((weights * (d_weights - mean)).astype(query.dtype))
            d_key += jnp.einsum("nd,nm->dm", query, d_logits)
            return (d_key, d_value), jnp.einsum("nm,md->nd", d_logits, key)

        start = tuple(jnp.zeros_like(x.T, mean.dtype) for x in (key, value))
        sums, part = jax.lax.scan(add_queries, start, queries)
        return d_query + _join(part, len(d_query)), sums

    start = jnp.zeros_like(query, log_total.dtype)
    d_query, sums = jax.lax.scan(of_keys, start, _by_keys(key, value, sizes[1]))
    # (blocks, channels, keys) -> (M, channels)
    d_key, d_value = (_join(jnp.swapaxes(x, 1, 2), len(key)) for x in sums)
    return d_query.astype(query.dtype), d_key.astype(key.dtype), d_value.astype(value.dtype)


def _by_keys(key, value, size):
    """Blocks of keys, of values and, where the last block is padded, of numbers added to logits."""
    absent = None
    if len(key) % size:
        present = jnp.zeros((len(key), 1), jnp.promote_types(key.dtype, jnp.float32))
        absent = jnp.swapaxes(_split(present, size, -jnp.inf), 1, 2)
    return _split(key, size), _split(value, size), absent


def _logits(query, key, absent):
    logits = jnp.einsum("nd,md->nm", query, key)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return logits if absent is None else logits + absent


def _split(x, size, value=0):
    """(N, c) -> (blocks, size, c), the last block padded with `value`."""
    padded = jnp.pad(x, ((0, -len(x) % size), (0, 0)), constant_values=value)
    return padded.reshape(-1, size, x.shape[-1])


def _join(x, length):
    """(blocks, size, c) -> (length, c)."""
    return x.reshape(-1, x.shape[-1])[:length]


def _once(x):
    """Keep XLA from computing `x` again in everything that uses it, exponentials included."""
    return jax.lax.optimization_barrier(x)
