"""Work on a batch of images that is spread over devices, without communication between them."""

import math
from collections.abc import Callable, Sequence

import jax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P


def by_device(function, *batches, shared=()):
    """Compute `function(*shared, *batches)`, each device on its own images of the batch.

    Under a mesh the call is wrapped in `jax.shard_map`: otherwise the compiler gathers the whole
    batch on every device for a Fourier transform or a loop over images. The batch is spread over
    all axes of the mesh. Outside a mesh, within another `jax.shard_map`, or where the devices
    cannot share the batch evenly, it is a plain call.

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
    axes, devices = _axes(AxisType.Auto)
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


def draw_rows(draw: Callable, shape: Sequence[int]):
    """Draw random numbers for a batch of images: the same ones on any number of devices.

    Within a `jax.shard_map` over the batch every device has the same key. It draws for the whole
    batch and keeps the rows of its own images. Every number follows from the key and its position
    alone, so GPUs compute only what is kept; CPUs draw the rest too. Elsewhere this is
    `draw(shape)`.

    Args:
        draw: function of a shape, such as a partial `jax.random.normal`.
        shape: (B, ...), B being the number of images at hand.

    Returns:
        An array of that shape.
    """
    axes, devices = _axes(AxisType.Manual)
    if devices == 1:
        return draw(shape)
    rows, *rest = shape
    whole = draw((devices * rows, *rest))
    return jax.lax.dynamic_slice_in_dim(whole, jax.lax.axis_index(axes) * rows, rows)


def _axes(kind: AxisType) -> tuple[tuple[str, ...], int]:
    """Return the names of the mesh's axes of one kind, and the number of devices along them."""
    mesh = jax.sharding.get_abstract_mesh()
    kinds = zip(mesh.axis_names, mesh.axis_types, strict=True)
    axes = tuple(name for name, its_kind in kinds if its_kind == kind)
    return axes, math.prod(mesh.shape[axis] for axis in axes)
