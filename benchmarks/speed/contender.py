"""One network in one framework, in a process of its own that runs calls when it is told to.

Contenders can so take turns on one device, each with its own allocator: peak memory and failures of
one do not touch the others. Used by benchmarks/speed/speed.py; Linux only, as it reads /proc.
"""

import ctypes
import dataclasses
import functools
import importlib
import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.timing import seconds

INPUTS = 4  # batches that are used in rotation


@dataclasses.dataclass(frozen=True)
class Task:
    """What is timed.

    Attributes:
        network: name of the network.
        fields: fields of its module that differ from the published ones.
        mode: "train", a gradient of L1 and Adam's update, or "inference".
        size: PAN pixels along a side.
        batch: number of images.
        dtype: how it computes: "float32"; "tf32", float32 whose products round their factors to 10
            bits, which GPUs do faster; "bfloat16", with parameters and losses in float32.
        num_bands, guide_bands, ratio: C, G and r of the images.
    """

    network: str
    fields: tuple[tuple[str, object], ...]
    mode: str
    size: int
    batch: int
    dtype: str = "float32"
    num_bands: int = 8
    guide_bands: int = 1
    ratio: int = 4

    def arrays(self) -> list[dict[str, np.ndarray]]:
        """Draw batches of smooth images in [0, 1], NHWC float32, and noise levels for denoisers."""
        random = np.random.default_rng(0)
        low = self.size // self.ratio

        def image(side, channels):
            coarse = random.uniform(0.1, 0.9, (self.batch, low, low, channels))
            fine = coarse.repeat(side // low, 1).repeat(side // low, 2)
            return (fine + random.uniform(-0.1, 0.1, fine.shape)).astype(np.float32)

        names = {"gt": self.num_bands, "lms": self.num_bands, "pan": self.guide_bands}
        return [
            {key: image(self.size, channels) for key, channels in names.items()}
            | {"ms": image(low, self.num_bands), "t": np.full(self.batch, 100, np.int32)}
            for _ in range(INPUTS)
        ]


class Contender:
    """The parent's end of the process.

    Args:
        framework: "ours", "published" (PyTorch, the published formulation, eager), "best" (PyTorch:
            its fused attention, channels last, compiled) or "ceilings".
        task: what is timed; None for "ceilings".
        memory: bytes that the process may take beyond what the frameworks themselves need; 0: all.

    The process starts to build at once; `report` waits for it.
    """

    def __init__(self, framework: str, task: Task | None, memory: int = 0):
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, framework, task, memory), daemon=True
        )
        self._process.start()
        theirs.close()
        self._report = None

    @property
    def report(self) -> dict:
        """Measurements of building and of the first call, or "failed" with the reason."""
        return self.report_by(None)

    def report_by(self, deadline: float | None) -> dict:
        """Return `report`; at the deadline, a value of `time.monotonic`, give the building up."""
        if self._report is None:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            if self._pipe.poll(left):
                self._report = self._answer()
            else:
                self._process.kill()
                self._report = {"failed": "not built within the time allowed"}
        return self._report

    def run(self, count: int) -> dict:
        """Return seconds of one call, wall and CPU time, as the mean of `count` calls."""
        self._pipe.send(count)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def _answer(self) -> dict:
        try:
            return self._pipe.recv()
        except EOFError:
            self._process.join()
            return {"failed": f"the process ended with {self._process.exitcode}"}


def _serve(pipe, framework: str, task: Task | None, memory: int) -> None:
    try:
        build = {"ours": _ours, "ceilings": _ceilings}.get(framework) or functools.partial(
            _torch, framework
        )
        step, report = build(task, lambda: _limit(memory))
        start = time.perf_counter()
        step(0)
        report["first_call_s"] = time.perf_counter() - start
        _forget_peak()
        before = _memory("VmRSS")
        start = time.perf_counter()
        step(1)
        report["second_call_s"] = time.perf_counter() - start
        peak = report.pop("device_peak", lambda: _memory("VmHWM") - before)()
        # An allocator that keeps what was freed hides it from the system.
        report["peak_bytes"] = max(peak, report.get("temporaries", 0))
        pipe.send(report)
        while True:
            count = pipe.recv()
            wall, processor = time.perf_counter(), time.process_time()
            for index in range(count):
                step(index)
            pipe.send(
                {
                    "wall": (time.perf_counter() - wall) / count,
                    "cpu": (time.process_time() - processor) / count,
                }
            )
    except EOFError:  # the parent is done
        return
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        pipe.send({"failed": f"{type(error).__name__}: {lines[0][:200]}"})
        if os.environ.get("BENCHMARK_TRACEBACK"):
            traceback.print_exc()


def _limit(memory: int) -> None:
    """Limit the process to `memory` bytes more than it has now."""
    if memory:
        ceiling = _memory("VmSize") + memory
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))


def _memory(entry: str) -> int:
    (line,) = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(entry)]
    return int(line.split()[1]) * 1024


def _forget_peak() -> None:
    """Return freed memory to the system and reset VmHWM."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def _ours(task: Task, limit: Callable) -> tuple[Callable, dict]:
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax
    import jax.numpy as jnp
    import optax

    from rsfusion_jax.compilation import compiler_options, platform_of
    from rsfusion_jax.models import cost, create_model, init_params
    from rsfusion_jax.runs.state import create_state
    from rsfusion_jax.training.step import make_train_step

    model = create_model(
        task.network,
        num_bands=task.num_bands,
        guide_bands=task.guide_bands,
        ratio=task.ratio,
        dtype=jnp.bfloat16 if task.dtype == "bfloat16" else None,
        **dict(task.fields),
    )
    params = init_params(model, jax.random.key(0))
    batches = jax.device_put(task.arrays())

    def fuse(params, batch):
        if model.predicts == "fused":
            images = batch["pan"], batch["ms"], batch["lms"]
            return model.apply({"params": params}, *images)["fused"]
        return model.apply({"params": params}, batch["gt"], batch["t"], batch["pan"], batch["lms"])

    def objective(model, params, batch, key):
        return jnp.abs(fuse(params, batch).astype(jnp.float32) - batch["gt"]).mean(), {}

    if task.mode == "train":
        optimizer = optax.adam(1e-4)
        holder = [create_state(params, optimizer, jax.random.key(1), ema=False)]
        function = jax.jit(make_train_step(model, objective, optimizer), donate_argnums=0)
    else:
        holder, function = [params], jax.jit(fuse)
    limit()
    start = time.perf_counter()
    with jax.default_matmul_precision("highest" if task.dtype == "float32" else "default"):
        lowered = function.lower(holder[0], batches[0])
    compiled = lowered.compile(compiler_options(platform_of(batches[0])))
    analysis = compiled.cost_analysis() or {}
    device = jax.devices()[0]
    report = {
        "compile_s": time.perf_counter() - start,
        "multiply_adds": cost.multiply_adds(fuse, params, batches[0]),
        "bytes_accessed": analysis.get("bytes accessed"),
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
    }
    if device.platform != "cpu":
        report["device_peak"] = lambda: device.memory_stats()["peak_bytes_in_use"]

    def step(index):
        if task.mode == "train":
            holder[0], metrics = compiled(holder[0], batches[index % INPUTS])
            jax.block_until_ready(metrics)
        else:
            jax.block_until_ready(compiled(holder[0], batches[index % INPUTS]))

    return step, report


def _torch(formulation: str, task: Task, limit: Callable) -> tuple[Callable, dict]:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    best = formulation == "best"
    torch.backends.cuda.matmul.allow_tf32 = task.dtype == "tf32"
    torch.backends.cudnn.allow_tf32 = task.dtype == "tf32"
    module = importlib.import_module(f"benchmarks.peers.{task.network}_torch")
    network = {name.lower(): value for name, value in vars(module).items()}[task.network](
        num_bands=task.num_bands,
        guide_bands=task.guide_bands,
        ratio=task.ratio,
        formulation=formulation,
        **dict(task.fields),
    ).to(device)
    layout = torch.channels_last if best else torch.contiguous_format
    network = network.to(memory_format=layout).train(task.mode == "train")
    forward = torch.compile(network) if best else network
    batches = [
        {
            key: torch.from_numpy(array).to(device)
            if key == "t"
            else torch.from_numpy(array.transpose(0, 3, 1, 2).copy())
            .to(device)
            .contiguous(memory_format=layout)
            for key, array in batch.items()
        }
        for batch in task.arrays()
    ]
    names = ("gt", "t", "pan", "lms") if task.network == "ddif" else ("pan", "ms", "lms")
    precision = functools.partial(
        torch.autocast, device, torch.bfloat16, enabled=task.dtype == "bfloat16"
    )
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    limit()

    def step(index):
        batch = batches[index % INPUTS]
        images = [batch[name] for name in names]
        if task.mode == "train":
            with precision():
                loss = (forward(*images).float() - batch["gt"]).abs().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        else:
            with torch.inference_mode(), precision():
                forward(*images)
        if device == "cuda":
            torch.cuda.synchronize()

    report = {}
    if device == "cuda":
        report["device_peak"] = torch.cuda.max_memory_allocated
    return step, report


def _ceilings(_, limit: Callable) -> tuple[Callable, dict]:
    """Measure the highest rates of the device: a large matrix product and a large copy."""
    import jax
    import jax.numpy as jnp

    device = jax.devices()[0]
    side, length = (2048, 2**26) if device.platform == "cpu" else (8192, 2**30)
    matmul, copy, rates = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1), {}
    for dtype in ("float32", "tf32", "bfloat16"):
        kind = jnp.bfloat16 if dtype == "bfloat16" else jnp.float32
        a = jax.random.normal(jax.random.key(0), (side, side), kind)
        with jax.default_matmul_precision("highest" if dtype == "float32" else "default"):
            fastest = min(seconds(functools.partial(matmul, a, a), 8))
        rates[f"{dtype}_flops"] = 2 * side**3 / fastest
    vector = jnp.arange(length, dtype=jnp.float32)
    rates["bytes"] = 8 * length / min(seconds(functools.partial(copy, vector), 8))
    return lambda index: None, {"device": device.device_kind, **rates}
