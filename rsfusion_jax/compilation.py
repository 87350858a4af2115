"""Compiler options for programs that run networks."""

import functools
from collections.abc import Callable

import jax
import numpy as np

_WITHOUT_LIBRARY_CONVOLUTIONS = {
    "xla_cpu_experimental_ynn_fusion_type": (
        "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT,LIBRARY_FUSION_TYPE_REDUCE"
    )
}


def device_of(*arguments) -> jax.Device:
    """Return the device that a program with these arguments runs on.

    Args:
        arguments: trees whose arrays lie on devices; other leaves are ignored.

    Returns:
        One device of the first array, without an array the default device.
    """
    arrays = [leaf for leaf in jax.tree.leaves(arguments) if isinstance(leaf, jax.Array)]
    if not arrays:
        arrays = [jax.device_put(0)]
    return next(iter(arrays[0].devices()))


_MOST_PROGRAMS = 16
"""Programs of one function that stay in memory: each takes some ten megabytes, and a long session
meets images of ever new sizes."""


def platform_of(*arguments) -> str:
    """Name the platform that a program with these arguments runs on: "cpu", "gpu" or "tpu".

    Args:
        arguments: as for `device_of`.
    """
    return device_of(*arguments).platform


@functools.cache
def compiler_options(platform: str) -> dict[str, str]:
    """Return the options for `jax.jit` or `compile` that fit a platform.

    On CPUs XLA leaves convolutions to a library that runs those of up to 64 channels on one thread
    and takes four times as long for a kernel's gradient over 16 images as XLA's own code, which
    these options choose. Products and sums stay with the library. Elsewhere there are none.

    Args:
        platform: where the program will run, as `platform_of` names it.
    """
    if platform != "cpu":
        return {}
    options = _WITHOUT_LIBRARY_CONVOLUTIONS
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # An experimental option: a release of jax may not know it.
        return {}
    return options


def jit(function: Callable, **settings) -> Callable:
    """Wrap `jax.jit` with the options above, chosen at each call by where the arguments lie.

    Within another traced function it is `jax.jit` alone: options are for whole programs.

    Args:
        function: as for `jax.jit`.
        settings: further arguments of `jax.jit`.
    """
    as_part = jax.jit(function, **settings)

    @functools.lru_cache(maxsize=_MOST_PROGRAMS)
    def as_program(platform, *signature):
        # What jax stores of a program dies with its function: each program has one of its own.
        @functools.wraps(function)
        def own(*args, **kwargs):
            return function(*args, **kwargs)

        return jax.jit(own, compiler_options=compiler_options(platform), **settings)

    @functools.wraps(function)
    def call(*args, **kwargs):
        leaves, structure = jax.tree.flatten((args, kwargs))
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return as_part(*args, **kwargs)
        program = as_program(platform_of(leaves), structure, *map(_kind, leaves))
        return program(*args, **kwargs)

    return call


def _kind(leaf) -> object:
    """Return what distinguishes the arguments that programs of their own are made for."""
    return (leaf.shape, leaf.dtype) if isinstance(leaf, (np.ndarray, jax.Array)) else type(leaf)
