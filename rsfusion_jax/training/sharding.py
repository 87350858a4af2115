"""Placement of arrays on devices: batches over all, parameters over the `fsdp` axis of the mesh.

`jax.jit` with `NamedSharding` does what `pmap` (in maintenance mode) and `pjit` (now `jit` itself)
used to do; one code path serves one device, several devices and several processes.
"""

from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from rsfusion_jax.errors import UserError

BATCH_AXES = ("data", "fsdp")


def make_mesh(devices: int = 0, fsdp: int = 1) -> Mesh:
    """Make a mesh with the axes (data, fsdp).

    Args:
        devices: number of devices, the first of those visible; 0 uses all.
        fsdp: number of devices over which parameters are sharded; a divisor of `devices`.

    Raises:
        UserError: fewer devices are visible, or `fsdp` does not divide their number.
    """
    available = jax.devices()
    count = devices or len(available)
    if not 0 < count <= len(available):
        raise UserError(
            f"mesh.devices={devices}, but {len(available)} are visible; lower it or use 0 for all"
        )
    if count < len(available) and jax.process_count() > 1:
        raise UserError(
            f"mesh.devices={devices} leaves out some of the {len(available)} devices of "
            f"{jax.process_count()} processes; use 0 for all, or start fewer processes"
        )
    if fsdp < 1 or count % fsdp:
        divisors = ", ".join(str(d) for d in range(1, count + 1) if count % d == 0)
        raise UserError(
            f"mesh.shard_params_over={fsdp} does not divide {count} devices; set it to one of "
            f"{divisors}"
        )
    # With auto axes the compiler chooses the sharding of intermediate arrays. Explicit axes, the
    # default of jax.make_mesh, reject the reshapes of pixel shuffle and attention.
    return jax.make_mesh(
        (count // fsdp, fsdp),
        BATCH_AXES,
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=available[:count],
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that copies an array to every device."""
    return NamedSharding(mesh, P())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding that spreads the leading axis over all devices."""
    return NamedSharding(mesh, P(BATCH_AXES))


def state_shardings(mesh: Mesh, state):
    """Return the sharding of each leaf of the training state.

    A leaf is sharded along the longest axis whose length is a multiple of `fsdp`, and replicated if
    there is none.

    Args:
        mesh: from `make_mesh`.
        state: tree of arrays or of their shapes and dtypes.
    """
    fsdp = mesh.shape["fsdp"]

    def place(leaf):
        axes = [i for i, size in enumerate(leaf.shape) if size % fsdp == 0]
        if fsdp == 1 or not axes or jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return replicated(mesh)
        longest = max(axes, key=lambda i: leaf.shape[i])
        return NamedSharding(
            mesh, P(*(("fsdp" if i == longest else None) for i in range(leaf.ndim)))
        )

    return jax.tree.map(place, state)


def describe(mesh: Mesh) -> str:
    """Describe the mesh, as in "8 devices in 2 processes, parameters sharded over 4"."""
    if mesh.size == 1:
        return f"1 device ({mesh.devices.flat[0].device_kind})"
    fsdp, processes = mesh.shape["fsdp"], jax.process_count()
    where = f" in {processes} processes" if processes > 1 else ""
    how = f"sharded over {fsdp}" if fsdp > 1 else "copied to each"
    return f"{mesh.size} devices ({mesh.devices.flat[0].device_kind}){where}, parameters {how}"


def mean_over_devices(function: Callable, shared, batch):
    """Compute `function(shared, batch)` on each device's rows of the batch; average the results.

    The devices communicate once, at the end. If the compiler distributed the computation instead,
    it would sum the gradient of a loop's parameters in every turn of the loop, and with sharded
    parameters it would compute some activations sharded over channels, which it then has to move
    between devices although they are far larger than the parameters. Outside a mesh, or on a mesh
    of one device, this is a plain call.

    Args:
        function: returns a tree of floating-point arrays, each a mean over the images of the batch.
        shared: tree of arrays that every device needs as a whole; sharded ones are gathered first.
        batch: tree of arrays with the batch first, whose length the number of devices divides.

    Returns:
        What `function` returns for the whole batch, up to rounding; the same on every device.
    """
    if jax.sharding.get_abstract_mesh().size <= 1:
        return function(shared, batch)

    def mean(shared, batch):
        return jax.lax.pmean(function(shared, batch), BATCH_AXES)

    # With `check_vma` JAX would sum the gradient of `shared` wherever it is used, also in loops.
    spread = jax.shard_map(mean, in_specs=(P(), P(BATCH_AXES)), out_specs=P(), check_vma=False)
    return spread(shared, batch)


def check_batch_size(mesh: Mesh, batch_size: int, accumulate: int = 1) -> None:
    """Raise `UserError` unless the batch divides evenly among devices and micro-batches.

    Args:
        mesh: from `make_mesh`.
        batch_size: images per step, over all devices.
        accumulate: number of micro-batches per step.
    """
    if accumulate < 1:
        raise UserError(f"train.accumulate={accumulate} must be at least 1")
    pieces = mesh.size * accumulate
    if batch_size < 1 or batch_size % pieces:
        near = max(round(batch_size / pieces), 1) * pieces
        raise UserError(
            f"train.batch_size={batch_size} cannot be shared by {mesh.size} devices in "
            f"{accumulate} micro-batches; choose a multiple of {pieces}, such as {near}, or set "
            "mesh.devices"
        )


def put_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Put this process's rows of a batch on its devices, as part of a global array."""
    sharding = batch_sharding(mesh)
    return {
        key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()
    }


def put_whole_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Make the global array of a batch that every process has in full."""
    sharding = batch_sharding(mesh)
    return {
        key: jax.make_array_from_callback(value.shape, sharding, value.__getitem__)
        for key, value in batch.items()
    }


def fetch(tree):
    """Fetch a tree of global arrays as complete NumPy arrays, in every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)
