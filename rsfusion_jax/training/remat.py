"""Rematerialisation: recompute the activations of blocks for the gradient to save memory."""

import contextlib

import jax
from flax import linen as nn


@contextlib.contextmanager
def rematerialised_blocks():
    """Rematerialise every direct submodule of the networks that are called in this context.

    This works for any Flax network and changes neither names nor values of its parameters: Flax
    passes each module's call to an interceptor, which wraps it in `nn.remat`. A direct submodule
    that is a single layer is wrapped too, at no loss.
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
