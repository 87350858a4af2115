"""Work that each device does on its own images of a batch, where the compiler would gather all."""

import functools

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P


def by_device(function, *batches):
    """`function(*batches)`, under a mesh inside `jax.shard_map`.

    The batch is spread over all axes of the mesh; outside a mesh, or where its devices cannot share
    the batch evenly, nothing is split.

    Args:
        function: of arrays with the batch first; treats every image alone.
        batches: arrays (B, ...).

    Returns:
        What `function` returns, an array or a tree of them, the batch first.
    """
    if not all(isinstance(x, jax.core.Tracer) for x in batches):
        return function(*batches)
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == AxisType.Auto)
    devices = functools.reduce(lambda n, axis: n * mesh.shape[axis], axes, 1)
    if devices == 1 or len(batches[0]) % devices:
        return function(*batches)
    # No `check_vma`: it refuses loops whose sums begin as a constant, the same on all devices.
    split = jax.shard_map(
        function, in_specs=P(axes), out_specs=P(axes), axis_names=set(axes), check_vma=False
    )
    return split(*batches)
