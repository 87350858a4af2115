"""One program of the library, compiled for GPUs that this machine does not have.

XLA needs a description of the device in place of the device. Nothing runs: run time, the choices
that are tuned on a device, the workspace of cuDNN and the numerics stay unknown.
Used by benchmarks/speed/gpu_programs.py, a process for each program.
"""

import dataclasses
import functools
import importlib
import os
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh

from benchmarks.speed.hlo import count
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.measures import measure
from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.models import abstract_params, create_model
from rsfusion_jax.ops.attention import attention
from rsfusion_jax.runs.checkpoint import abstract_like
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.sensors import get_sensor
from rsfusion_jax.training import sharding
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.optimizer import make_optimizer, make_schedule
from rsfusion_jax.training.step import make_ema_decay, make_train_step

DATA_SET = "wv3"
BANDS, RATIO, SIZE = 8, 4, 64  # of WorldView-3; PAN pixels along a side
ATTENTION = 16, 4096, 2, 16  # images of a device, tokens, heads, channels of a head
METRICS_BATCH = 4  # images of a device
STEPS_PER_EPOCH = 600  # only dates of the learning rate depend on it


@dataclasses.dataclass(frozen=True)
class Program:
    """What is compiled.

    Attributes:
        network: name of a network, "attention" or "metrics".
        mode: "train", "inference", "draw" (of a diffusion network: all steps of its sampler),
            "gradient" (of attention: forward and backward) or "validation" (of metrics).
        dtype: compute dtype, "float32" or "bfloat16".
    """

    network: str
    mode: str
    dtype: str


def measured(program: Program, mesh: Mesh) -> dict:
    """Compile a program and measure it.

    Args:
        program: what is compiled.
        mesh: the devices, from `described_mesh` or of this machine.

    Returns:
        Images on a device ("batch", the recipe's), bytes on a device, the counts of `hlo.Counts`,
        and seconds of lowering and compiling, by the clock and of all cores together.
    """
    build = {
        "train": _training_step,
        "inference": _fusion,
        "draw": _fusion,
        "gradient": _attention,
        "validation": _metrics,
    }[program.mode]
    function, arguments, batch = build(program, mesh)
    start, processor = time.perf_counter(), _cpu_seconds()
    with jax.set_mesh(mesh):
        compiled = function.lower(*arguments).compile()
    wall_s, cpu_s = time.perf_counter() - start, _cpu_seconds() - processor
    memory = compiled.memory_analysis()
    return {
        "batch": batch,
        "peak_bytes": memory.peak_memory_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        **vars(count(compiled.as_text())),
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
    }


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the assemblers that it has started."""
    return sum(os.times()[:4])


def described_mesh(devices: int, target: str) -> Mesh:
    """Make the mesh of a training run on GPUs of one machine that are described only.

    Args:
        devices: number of GPUs.
        target: XLA's description of the GPU, as text.
    """
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=target, topology=f"1x1x{devices}"
    )
    places = np.array(topology.devices).reshape(devices, 1)
    return Mesh(places, sharding.BATCH_AXES, axis_types=(AxisType.Auto, AxisType.Auto))


def _config(program: Program):
    """Return the published recipe and the network."""
    config = importlib.import_module(f"configs.{program.network}").get_config(DATA_SET)
    model = create_model(
        **config.model.to_dict(),
        num_bands=BANDS,
        guide_bands=1,
        ratio=RATIO,
        dtype=None if program.dtype == "float32" else jnp.dtype(program.dtype),
    )
    return config, model


def _images(mesh: Mesh, batch: int, *names: str) -> dict[str, jax.ShapeDtypeStruct]:
    """Describe images of all devices."""
    full, low = (batch * mesh.size, SIZE, SIZE), (batch * mesh.size, SIZE // RATIO, SIZE // RATIO)
    shapes = {"pan": (*full, 1), "ms": (*low, BANDS), "lms": (*full, BANDS), "gt": (*full, BANDS)}
    return {name: _spread(mesh, shapes[name]) for name in names}


def _spread(mesh: Mesh, shape: tuple[int, ...], dtype="float32") -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=sharding.batch_sharding(mesh))


def _training_step(program: Program, mesh: Mesh) -> tuple[Callable, tuple, int]:
    """Build the step of `training.loop` with the network's recipe."""
    config, model = _config(program)
    steps = config.train.steps or config.train.epochs * STEPS_PER_EPOCH
    optimizer = make_optimizer(
        config.optim, make_schedule(config.optim, steps, steps_per_epoch=STEPS_PER_EPOCH)
    )
    diffusion = None if model.predicts == "fused" else Diffusion(**config.diffusion)
    step = make_train_step(
        model,
        make_objective(
            config.train.objective, config.train.loss, diffusion, sensor=get_sensor(DATA_SET)
        ),
        optimizer,
        ema_decay=make_ema_decay(
            config.train.ema_decay, config.train.ema_start, config.train.ema_warmup
        ),
    )
    begin = functools.partial(create_state, optimizer=optimizer, ema=config.train.ema_decay > 0)
    state = jax.eval_shape(
        lambda params, key: begin(params, key=key), abstract_params(model), jax.random.key(0)
    )
    placed = sharding.state_shardings(mesh, state)
    function = jax.jit(
        jax.default_matmul_precision(config.train.precision)(step),
        donate_argnums=0,
        out_shardings=(placed, sharding.replicated(mesh)),
    )
    batch = _images(mesh, config.train.batch_size, "pan", "ms", "lms", "gt")
    return function, (abstract_like(state, placed), batch), config.train.batch_size


def _fusion(program: Program, mesh: Mesh) -> tuple[Callable, tuple, int]:
    """Build what `Fuser` and a validation run: for diffusion networks the whole sampler."""
    config, model = _config(program)
    diffusion = None if model.predicts == "fused" else config.diffusion.to_dict()

    def fuse(params, pan, ms, lms):
        return Fuser(model, {"params": params}, diffusion=diffusion).fuse_unit(pan, ms, lms)

    params = abstract_params(model)
    params = abstract_like(params, jax.tree.map(lambda _: sharding.replicated(mesh), params))
    images = _images(mesh, config.train.batch_size, "pan", "ms", "lms").values()
    return jax.jit(fuse), (params, *images), config.train.batch_size


def _attention(program: Program, mesh: Mesh) -> tuple[Callable, tuple, int]:
    """Build attention and its gradient."""

    def both(query, key, value, d_out):
        out, gradient = jax.vjp(attention, query, key, value)
        return out, gradient(d_out)

    batch, *rest = ATTENTION
    return jax.jit(both), (_spread(mesh, (batch * mesh.size, *rest), program.dtype),) * 4, batch


def _metrics(program: Program, mesh: Mesh) -> tuple[Callable, tuple, int]:
    """Build the scores of a validation, with the ground truth."""
    sensor = get_sensor(DATA_SET)
    info = SetInfo(DATA_SET, sensor, BANDS, 1, RATIO, sensor.max_value, RATIO // 2, has_gt=True)
    batch = _images(mesh, METRICS_BATCH, "pan", "ms", "lms", "gt")
    function = jax.jit(lambda batch, fused: measure(batch, fused, info))
    return function, (batch, batch["gt"]), METRICS_BATCH
