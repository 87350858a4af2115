"""Blocks whose activations are computed again for the gradient instead of kept."""

import contextlib

import jax
from flax import linen as nn


@contextlib.contextmanager
def rematerialised_blocks():
    """While open, every direct part of a network is such a block; single layers lose nothing by it.

    Works on any network and changes neither its parameters' names nor its values: flax calls the
    interceptor around each module's call, and that call goes through `nn.remat`.
    """
    inside = []

    def intercept(call, args, kwargs, context):
        module = context.module
        is_block = context.method_name == "__call__" and len(module.path) == 1
        if inside or not is_block:
            return call(*args, **kwargs)
        leaves, tree = jax.tree.flatten((args, kwargs))
        traced = [isinstance(leaf, jax.Array) for leaf in leaves]

        def block(module, arrays):
            arrays = iter(arrays)
            merged = [next(arrays) if t else x for x, t in zip(leaves, traced, strict=True)]
            args, kwargs = jax.tree.unflatten(tree, merged)
            inside.append(module)
            try:
                return module(*args, **kwargs)
            finally:
                inside.pop()

        arrays = [leaf for leaf, t in zip(leaves, traced, strict=True) if t]
        return nn.remat(block)(module, arrays)

    with nn.intercept_methods(intercept):
        yield
