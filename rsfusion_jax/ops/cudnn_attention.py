"""NVIDIA's own attention, in the library cuDNN: faster than ours, for half precision only."""

import contextlib
import contextvars
import functools

import jax
import jax.numpy as jnp

cudnn_attention = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
"""softmax(query key^T / sqrt(d)) value by cuDNN; programs for the platform "cuda" only."""

_OLDEST = 8.0
"""Compute capability from which on cuDNN has this attention: Ampere, 2020."""

_allowed = contextvars.ContextVar("cudnn_attention_allowed", default=True)


@contextlib.contextmanager
def without_cudnn():
    """Trace programs without cuDNN within: programs that are stored, or lowered for two platforms.

    cuDNN's calls are not among those that a stored program of `jax.export` may hold, because later
    releases need not understand them.
    """
    token = _allowed.set(False)
    try:
        yield
    finally:
        _allowed.reset(token)


def is_offered(query, key, value) -> bool:
    """Whether `cudnn_attention` computes the attention of these arrays, on GPUs that have it.

    jax decides: it knows cuDNN's rules (bfloat16 or float16; at most 128 channels in a head, 256 on
    Hopper and later, a multiple of 8, the same for query, key and value; for gradients even N and
    M) and whether its CUDA plugin, which brings cuDNN, is installed where the program is traced.

    Args:
        query: (B, N, heads, d).
        key: (B, M, heads, d).
        value: (B, M, heads, e).
    """
    if not _allowed.get() or query.dtype not in (jnp.bfloat16, jnp.float16) or _has_old_gpu():
        return False
    try:
        jax.eval_shape(_gradients, query, key, value)
    except (NotImplementedError, RuntimeError, ValueError):  # RuntimeError: there is no cuDNN
        return False
    return True


def _gradients(*images):
    out, pull = jax.vjp(cudnn_attention, *images)
    return pull(out)


def _has_old_gpu() -> bool:
    """Whether a GPU of this machine is too old; one that the program is compiled for need not."""
    try:
        devices = jax.local_devices(backend="cuda")
    except RuntimeError:  # no GPU here
        return False
    return any(float(device.compute_capability) < _OLDEST for device in devices)
