"""Work that is done image by image, each device on its own ones of a batch."""

import functools

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P


def by_device(function, *batches, shared=()):
    """`function(*shared, *batches)`, under a mesh inside `jax.shard_map`.

    Without it the compiler gathers the batch, for a Fourier transform or a loop over its images.
    The batch is spread over all axes of the mesh; outside a mesh, or where its devices cannot share
    the batch evenly, nothing is split.

    Args:
        function: of arrays with the batch first; treats every image alone.
        batches: arrays (B, ...).
        shared: arrays, or trees of them, that every device has whole. What is differentiated
            belongs here: `function` must not close over it.

    Returns:
        What `function` returns, an array or a tree of them, the batch first.
    """
    if not all(isinstance(x, jax.core.Tracer) for x in batches):
        return function(*shared, *batches)
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, kind in kinds if kind == AxisType.Auto)
    devices = functools.reduce(lambda n, axis: n * mesh.shape[axis], axes, 1)
    if devices == 1 or len(batches[0]) % devices:
        return function(*shared, *batches)
    # No `check_vma`: it refuses loops whose sums begin as a constant, the same on all devices.
    split = jax.shard_map(
        function,
        in_specs=(P(),) * len(shared) + (P(axes),) * len(batches),
        out_specs=P(axes),
        axis_names=set(axes),
        check_vma=False,
    )
    return split(*shared, *batches)


def in_turn(function, *batches, shared=()):
    """`function(*shared, *batches)`, on a CPU for one image after the other.

    What is held of one image stays in the processor's caches, and nothing is held of all of them.
    Elsewhere images are taken together. Arguments are those of `by_device`.
    """
    if jax.default_backend() != "cpu" or len(batches[0]) == 1:
        return function(*shared, *batches)

    def of_images(*given):
        shared_here, batches_here = given[: len(shared)], given[len(shared) :]

        def of_one(images):
            out = function(*shared_here, *(x[None] for x in images))
            return jax.tree.map(lambda x: x[0], out)

        return jax.lax.map(of_one, batches_here)

    return by_device(of_images, *batches, shared=shared)
