"""How large blocks may be for a budget of memory."""

import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import psutil

from rsfusion_jax import traced
from rsfusion_jax.compilation import compiler_options, device_of
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import ScenePair
from rsfusion_jax.scenes.work.batch import WindowBatch
from rsfusion_jax.scenes.work.program import State, WindowProgram
from rsfusion_jax.scenes.work.windows import WindowReader

CACHE = 64 * 2**20
"""Bytes of GDAL's cache."""
SIDES = (512, 256, 128, 64)
_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
WRITERS = min(os.cpu_count() or 1, 8)
"""Threads that round and compress finished blocks."""
AHEAD = 2
"""Windows that wait to be computed, apart from the one that is handed over."""
READERS = 2
"""Threads that read windows: GDAL decompresses blocks by as many more as there are cores."""
_SLACK = 1.3
"""The compiler's count of temporary memory leaves out what its libraries take."""
_BATCHES = (8, 4, 2, 1)
"""Windows that an accelerator takes at once; a CPU takes one."""
_ON_ACCELERATOR = 3
"""Batches whose inputs and outputs lie on an accelerator at once: one comes, one is computed, one
goes."""
_UNKNOWN_DEVICE = 4 * 2**30
"""Bytes taken to be free on an accelerator that does not tell: few for a GPU of today."""
_PROGRAM = 600 * 2**20
"""Bytes that a fresh process holds when a scene begins; what a calling program keeps besides is not
counted."""
_COMPILER = 300 * 2**20
"""Bytes that the compiled program and the threads' own memory come to."""


@dataclasses.dataclass(frozen=True)
class WorkPlan:
    """How a scene is worked off.

    Attributes:
        windows: its blocks.
        batch_size: windows that the device takes at once.
        run: the compiled program: `(state, batch)` -> arrays that its `run` returns.
        in_flight: batches that the device has at once.
        bytes: memory expected at the peak.
    """

    windows: WindowReader
    batch_size: int
    run: Callable[[State, WindowBatch], Sequence[jax.Array]]
    in_flight: int
    bytes: int


def parse_memory(text: str | int | float) -> int:
    """Bytes of "2GB", "800 MB", "1.5G" or a number of bytes.

    Raises:
        UserError: anything else.
    """
    if isinstance(text, int | float):
        return int(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text.upper())
    if not match:
        raise UserError(f"--memory={text} is no amount of memory; write it as 2GB or 800MB")
    return int(float(match[1]) * _UNITS[match[2]])


def plan_work(
    program: WindowProgram,
    scene: ScenePair,
    budget: int,
    side: int | None,
    batch_size: int | None,
) -> WorkPlan:
    """Chooses the largest blocks that fit, and compiles a program for their windows.

    On accelerators the windows on the device must fit its free memory, too.

    Args:
        program: what is computed.
        scene: the pair.
        budget: bytes of memory of this process.
        side: PAN pixels along a side of a block; None to choose.
        batch_size: windows on the device at once; None to choose.

    Raises:
        UserError: not even the smallest block fits.
    """
    device = device_of(program.state)
    on_cpu = device.platform == "cpu"
    free = 0 if on_cpu else free_memory(device)
    base = resident_bytes() + CACHE + _COMPILER
    # A CPU works on several small programs side by side.
    in_flight = WRITERS if on_cpu else _ON_ACCELERATOR
    sides = [side] if side else SIDES
    batches = [batch_size] if batch_size else [1] if on_cpu else _BATCHES
    sizes = list(itertools.product(sides, batches))
    while True:
        side, batch_size = sizes.pop(0)
        windows = WindowReader.of(program, scene, side)
        compiled, inputs = _compile(program, windows, batch_size, device.platform)
        host, on_device = _needed(compiled, inputs, in_flight, on_cpu)
        if base + host <= budget and on_device <= free:
            run = functools.partial(_run, compiled)
            return WorkPlan(windows, batch_size, run, in_flight, base + host)
        # Memory grows with area and batch: what will not fit need not be compiled.
        shares = [(s * s * b) / (side * side * batch_size) for s, b in sizes]
        sizes = [
            size
            for size, share in zip(sizes, shares, strict=True)
            if base + share * host <= budget and share * on_device <= free
        ]
        if sizes:
            continue
        if on_device > free:
            raise UserError(
                f"the memory of {device.device_kind} is too small: blocks of {side} pixels, "
                f"{batch_size} at once, with {program.spec.name} take {on_device / 2**30:.2g} GB, "
                f"{free / 2**30:.2g} GB are free; give a smaller --block or --batch, or set "
                "JAX_PLATFORMS=cpu"
            )
        raise UserError(
            f"--memory={budget / 2**30:.2g}GB is too little: blocks of {side} pixels with "
            f"{program.spec.name} take {(base + host) / 2**30:.2g} GB; give more"
        )


def free_memory(device: jax.Device) -> int:
    """Bytes of an accelerator's memory that a program may still take."""
    stats = device.memory_stats() or {}
    if "bytes_limit" not in stats:
        return _UNKNOWN_DEVICE
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0)


def resident_bytes() -> int:
    """Bytes of memory that this process holds now, at most those of a fresh one."""
    try:
        resident = psutil.Process().memory_info().rss
    except (OSError, psutil.Error):  # a system that does not tell
        return 400 * 2**20
    return min(resident, _PROGRAM)


def _compile(
    program: WindowProgram, windows: WindowReader, batch_size: int, platform: str
) -> tuple[jax.stages.Compiled, int]:
    """The compiled program, and the bytes of a batch of windows."""
    window, _ = windows.read(windows.blocks[0])
    shapes = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct((batch_size, *array.shape), array.dtype), window
    )
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), program.state)
    lowered = traced.lower(program.run, (state, shapes), program.identity, platform)
    inputs = batch_size * sum(array.nbytes for array in jax.tree.leaves(window))
    return lowered.compile(compiler_options(platform)), inputs


def _run(compiled: jax.stages.Compiled, state: State, batch: WindowBatch) -> Sequence[jax.Array]:
    return compiled(*jax.tree.leaves((state, batch)))


def _needed(
    compiled: jax.stages.Compiled, inputs: int, in_flight: int, on_cpu: bool
) -> tuple[int, int]:
    """Bytes that grow with the blocks: of this process, and of an accelerator."""
    analysis = compiled.memory_analysis()
    if analysis is None:  # a backend that does not tell
        return (READERS + AHEAD + 2 * in_flight + 2 * WRITERS) * inputs, 0
    temporary, outputs = analysis.temp_size_in_bytes, analysis.output_size_in_bytes
    # Being read, read, handed over, on the device.
    host = (READERS + AHEAD + in_flight) * inputs
    # Computed; and on its way to the file, where it exists as computed and as it is stored.
    host += (in_flight + 2 * WRITERS) * outputs
    if on_cpu:
        return host + int(_SLACK * temporary), 0
    moved = analysis.argument_size_in_bytes + outputs
    return host, int(_SLACK * temporary) + in_flight * moved
