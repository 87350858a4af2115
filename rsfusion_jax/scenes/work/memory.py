"""How large blocks may be for a budget of memory."""

import dataclasses
import os
import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import psutil

from rsfusion_jax.compilation import compiler_options, platform_of
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
_WAITING = 4 + WRITERS
"""Windows that exist at once: being read, read, on the device, being written."""
_SLACK = 1.3
"""The compiler's count of temporary memory leaves out what its libraries take."""
_ACCELERATOR_BATCH = 8
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
        run: the compiled program: `(state, batch)` -> what its `run` returns.
        bytes: memory expected at the peak.
    """

    windows: WindowReader
    batch_size: int
    run: Callable[[State, WindowBatch], object]
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

    Args:
        program: what is computed.
        scene: the pair.
        budget: bytes of memory of this process.
        side: PAN pixels along a side of a block; None to choose.
        batch_size: windows on the device at once; None to choose.

    Raises:
        UserError: not even the smallest block fits.
    """
    on_cpu = platform_of(program.state) == "cpu"
    batch_size = batch_size or (1 if on_cpu else _ACCELERATOR_BATCH)
    base = resident_bytes() + CACHE + _COMPILER
    sides = [side] if side else list(SIDES)
    while True:
        side = sides.pop(0)
        windows = WindowReader.of(program, scene, side)
        run = _compile(program, windows, batch_size)
        field = 0 if program.field is None else program.field.channels
        needed, varying = _needed(run, windows, batch_size, field, on_cpu, base)
        if needed <= budget:
            return WorkPlan(windows, batch_size, run, needed)
        # Memory grows with the area: what will not fit need not be compiled.
        sides = [s for s in sides if varying * (s / side) ** 2 + base <= budget]
        if not sides:
            raise UserError(
                f"--memory={budget / 2**30:.2g}GB is too little: blocks of {side} pixels with "
                f"{program.spec.name} take {needed / 2**30:.2g} GB; give more"
            )


def resident_bytes() -> int:
    """Bytes of memory that this process holds now, at most those of a fresh one."""
    try:
        resident = psutil.Process().memory_info().rss
    except (OSError, psutil.Error):  # a system that does not tell
        return 400 * 2**20
    return min(resident, _PROGRAM)


def _compile(program: WindowProgram, windows: WindowReader, batch_size: int):
    window, _ = windows.read(windows.blocks[0])
    shapes = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct((batch_size, *array.shape), array.dtype), window
    )
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), program.state)
    return (
        jax.jit(program.run)
        .lower(state, shapes)
        .compile(compiler_options(platform_of(program.state)))
    )


def _needed(
    run, windows: WindowReader, batch_size: int, field: int, on_cpu: bool, base: int
) -> tuple[int, int]:
    """Bytes expected, and the part of them that grows with the blocks."""
    height, width = windows.shape
    bands = len(windows.scene.ms.bands)
    channels = len(windows.scene.pan.bands) + 2 * bands + 2 * field  # a field is read and written
    varying = _WAITING * batch_size * height * width * channels * 4
    analysis = run.memory_analysis()
    if on_cpu and analysis is not None:
        varying += int(_SLACK * (analysis.temp_size_in_bytes + analysis.output_size_in_bytes))
    return base + varying, varying
