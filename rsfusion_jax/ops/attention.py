"""Softmax attention whose memory grows linearly with the number of tokens."""

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

    Each block sees every key, so the softmax is exact, and the backward pass recomputes the block's
    weights: nothing quadratic in tokens is ever stored.

    Args:
        query: (B, N, heads, d).
        key: (B, M, heads, d).
        value: (B, M, heads, e).
        precision: matrix-product precision, as `jax.lax.Precision`.

    Returns:
        (B, N, heads, e) in the inputs' dtype; the softmax itself is at least float32.
    """
    batch, tokens, heads, _ = query.shape
    held = _MAX_LOGITS.get(jax.default_backend(), _MAX_LOGITS_ACCELERATOR)
    block = max(1, min(tokens, held // (batch * heads * key.shape[1])))
    if block == tokens:
        return _attend(query, key, value, precision)
    blocks = math.ceil(tokens / block)
    padded = jnp.pad(query, ((0, 0), (0, blocks * block - tokens), (0, 0), (0, 0)))
    padded = jnp.moveaxis(padded.reshape(batch, blocks, block, heads, -1), 1, 0)
    step = jax.checkpoint(lambda rows: _attend(rows, key, value, precision))
    out = jnp.moveaxis(jax.lax.map(step, padded), 0, 1)
    return out.reshape(batch, blocks * block, heads, -1)[:, :tokens]


def _attend(query, key, value, precision):
    logits = jnp.einsum("bnhd,bmhd->bhnm", query, key, precision=precision)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    weights = jax.nn.softmax(logits / math.sqrt(query.shape[-1]), axis=-1)
    return jnp.einsum("bhnm,bmhd->bnhd", weights.astype(value.dtype), value, precision=precision)
