"""Work on a batch of images that is spread over devices, without communication between them."""

import functools

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P


def by_device(function, *batches, shared=()):
    """Compute `function(*shared, *batches)`, each device on its own images of the batch.

    Under a mesh the call is wrapped in `jax.shard_map`: otherwise the compiler gathers the whole
    batch on every device for a Fourier transform or a loop over images. The batch is spread over
    all axes of the mesh. Outside a mesh, or where the devices cannot share the batch evenly, it is
    a plain call.

    Args:
        function: treats every image alone; takes and returns arrays with the batch first.
        batches: arrays (B, ...).
        shared: arrays, or trees of them, that every device has as a whole. What is differentiated
            must be here or in `batches`: `function` must not close over it.

    Returns:
        What `function` returns, an array or a tree of arrays.
    """
    if not all(isinstance(x, jax.core.Tracer) for x in batches):
        return function(*shared, *batches)
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == AxisType.Auto)
    devices = functools.reduce(lambda n, axis: n * mesh.shape[axis], axes, 1)
    if devices == 1 or len(batches[0]) % devices:
        return function(*shared, *batches)
    # `check_vma` would refuse loops whose sums start from a constant, which is the same on all
    # devices.
    split = jax.shard_map(
        function,
        in_specs=(P(),) * len(shared) + (P(axes),) * len(batches),
        out_specs=P(axes),
        axis_names=set(axes),
        check_vma=False,
    )
    return split(*shared, *batches)
