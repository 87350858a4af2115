"""How large blocks may be for a budget of memory."""

import dataclasses
import os
import re
from typing import Any

import jax
import jax.numpy as jnp

from rsfusion_jax.compilation import compiler_options, platform_of
from rsfusion_jax.errors import UserError
from rsfusion_jax.scenes.pair.geometry import Scene
from rsfusion_jax.scenes.work.engines import Engine
from rsfusion_jax.scenes.work.windows import Windows

CACHE = 64 * 2**20
"""Bytes that GDAL may keep of files."""
SIDES = (512, 256, 128, 64)
_UNITS = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_WAITING = 6
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
class Plan:
    """How a scene is worked off.

    Attributes:
        windows: its blocks.
        batch: windows that the device takes at once.
        run: the compiled engine: `(state, batch)` -> fused, lms_sum.
        bytes: memory expected at the peak.
    """

    windows: Windows
    batch: int
    run: Any
    bytes: int


def parse_memory(text: str | int | float) -> int:
    """Bytes of "2GB", "800 MB", "1.5G" or a number of bytes.

    Raises:
        UserError: anything else.
    """
    if isinstance(text, int | float):
        return int(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", text.upper())
    if not found:
        raise UserError(f"--memory={text} is no amount of memory; write it as 2GB or 800MB")
    return int(float(found[1]) * _UNITS[found[2]])


def plan(engine: Engine, scene: Scene, budget: int, side: int | None, batch: int | None) -> Plan:
    """The largest blocks that fit, compiled.

    Args:
        engine: what is computed.
        scene: the pair.
        budget: bytes of memory of this process.
        side: PAN pixels along a side of a block; None to choose.
        batch: windows on the device at once; None to choose.

    Raises:
        UserError: not even the smallest block fits.
    """
    on_cpu = platform_of(engine.state) == "cpu"
    batch = batch or (1 if on_cpu else _ACCELERATOR_BATCH)
    halo = -(-engine.halo // engine.align) * engine.align
    base = held() + CACHE + _COMPILER
    sides = [side] if side else list(SIDES)
    while True:
        side = sides.pop(0)
        windows = Windows(scene, side, halo, engine.align, engine)
        run = _compile(engine, windows, batch)
        field = 0 if engine.field is None else engine.field.channels
        needed, varying = _needed(run, windows, batch, field, on_cpu, base)
        if needed <= budget:
            return Plan(windows, batch, run, needed)
        # Memory grows with the area: what will not fit need not be compiled.
        sides = [s for s in sides if varying * (s / side) ** 2 + base <= budget]
        if not sides:
            raise UserError(
                f"--memory={budget / 2**30:.2g}GB is too little: blocks of {side} pixels with "
                f"{engine.name} take {needed / 2**30:.2g} GB; give more"
            )


def held() -> int:
    """Bytes of memory that this program holds now, for all that a budget is concerned with."""
    try:
        with open("/proc/self/statm") as file:
            resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 400 * 2**20
    return min(resident, _PROGRAM)


def _compile(engine: Engine, windows: Windows, batch: int):
    sample, _ = windows.read(windows.blocks[0])
    shapes = {
        key: jax.ShapeDtypeStruct((batch, *value.shape), value.dtype)
        for key, value in sample.items()
    }
    state = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), engine.state)
    return (
        jax.jit(engine.run)
        .lower(state, shapes)
        .compile(compiler_options(platform_of(engine.state)))
    )


def _needed(
    run, windows: Windows, batch: int, field: int, on_cpu: bool, base: int
) -> tuple[int, int]:
    """Bytes expected, and the part of them that grows with the blocks."""
    height, width = windows.shape
    bands = len(windows.scene.ms.bands)
    channels = len(windows.scene.pan.bands) + 2 * bands + 2 * field  # a field is read and written
    varying = _WAITING * batch * height * width * channels * 4
    analysis = run.memory_analysis()
    if on_cpu and analysis is not None:
        varying += int(_SLACK * (analysis.temp_size_in_bytes + analysis.output_size_in_bytes))
    return base + varying, varying
