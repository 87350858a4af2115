"""Options of the compiler for programs that run networks."""

import functools
from collections.abc import Callable

import jax

_WITHOUT_LIBRARY_CONVOLUTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


@functools.cache
def compiler_options() -> dict[str, str]:
    """What `compile` or `jax.jit` is given besides the program; on accelerators nothing.

    On CPUs XLA leaves convolutions to a library that runs those of up to 64 channels on one thread
    and takes four times as long for a kernel's gradient over 16 images as XLA's own, which this
    chooses. What else goes to the library by default, products and sums, stays there.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = _WITHOUT_LIBRARY_CONVOLUTIONS
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # experimental: a release of jax may not know it
        return {}
    return options


def jit(function: Callable, **settings) -> Callable:
    """`jax.jit` with the options above, which are asked for at the first call only.

    Within another traced function it is `jax.jit` alone: options are for whole programs.

    Args:
        function: as of `jax.jit`.
        settings: further arguments of `jax.jit`.
    """
    as_part = jax.jit(function, **settings)

    @functools.cache
    def as_program():
        return jax.jit(function, compiler_options=compiler_options(), **settings)

    @functools.wraps(function)
    def call(*args, **kwargs):
        leaves = jax.tree.leaves((args, kwargs))
        traced = any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return (as_part if traced else as_program())(*args, **kwargs)

    return call
