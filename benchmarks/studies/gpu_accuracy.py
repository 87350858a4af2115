"""How far networks on a GPU are from their goldens, by the arithmetic they compute in.

    python -m benchmarks.studies.gpu_accuracy [--networks=u2net,rsanet] [--processes=8]

Run from the clone's root. Data: none, inputs and parameters are those of tests/helpers/goldens.py.
It is for a machine with a GPU; on one without, the CPU is measured.

Each network is evaluated in float64, float32, TF32 (float32 whose products round their factors to
10 bits: JAX's default on recent GPUs) and bfloat16. "output" is the largest difference of the
pixels in tests/golden, relative to the largest magnitude of them: the goldens agree with the
authors' code in float64. "gradient" is the largest difference from the gradients of the CPU in
float64, of all parameters, relative to the largest of them.

Rows go to benchmarks/results/gpu_accuracy.json; the table is printed.
"""

import functools
import json
import multiprocessing
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from benchmarks import record
from benchmarks.command_line import parser, words

HELPERS = Path(__file__).parents[2] / "tests" / "helpers"
ARITHMETICS = {  # dtype of inputs and parameters, compute dtype, precision of products
    "float64": ("float64", None, "highest"),
    "float32": ("float32", None, "highest"),
    "tf32": ("float32", None, "default"),
    "bfloat16": ("float32", "bfloat16", "default"),
}


def evaluate(name: str, arithmetic: str, device):
    """Return a golden's output (H, W, C) and gradients on a device, as NumPy arrays."""
    import goldens
    import jax
    import jax.numpy as jnp

    dtype, compute, precision = ARITHMETICS[arithmetic]
    with jax.enable_x64(True), jax.default_device(device):
        model, params, inputs = goldens.build(name)
        model = model.clone(dtype=None if compute is None else jnp.dtype(compute))

        def cast(x):
            return jnp.asarray(x, dtype if np.issubdtype(x.dtype, np.floating) else x.dtype)

        params, inputs = jax.tree.map(cast, (params, inputs))
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision(precision):

        @jax.jit
        @functools.partial(jax.value_and_grad, has_aux=True)
        def run(params, inputs):
            returned = model.apply({"params": params}, *inputs)
            images = [image.astype(dtype) for image in jax.tree.leaves(returned)]
            total = sum(jnp.square(image).sum() for image in images)
            return total, returned["fused"] if model.predicts == "fused" else returned

        (_, output), gradients = run(params, inputs)
        return jax.device_get((output[0].astype(dtype), gradients))


def measure(name: str) -> list[dict]:
    """Measure all rows of one network."""
    sys.path.insert(0, str(HELPERS))
    import goldens
    import jax

    golden = json.loads((goldens.FOLDER / f"{name}.json").read_text())
    _, reference = evaluate(name, "float64", jax.devices("cpu")[0])
    reference = jax.tree.leaves(reference)
    largest = max(np.abs(leaf).max() for leaf in reference)
    rows = []
    for arithmetic in ARITHMETICS:
        row = {"network": name, "arithmetic": arithmetic}
        try:
            output, gradients = evaluate(name, arithmetic, jax.devices()[0])
        except Exception as error:
            traceback.print_exc()
            row["failed"] = f"{type(error).__name__}: {error}"[:300]
        else:
            gradients = zip(jax.tree.leaves(gradients), reference, strict=True)
            pixels = output[::5, ::7].ravel()
            row["output"] = _difference(pixels, golden["pixels"], np.abs(golden["pixels"]).max())
            row["gradient"] = max(_difference(ours, theirs, largest) for ours, theirs in gradients)
        rows.append(row)
    return rows


def _difference(ours, theirs, scale) -> float:
    return float(np.abs(ours.astype(np.float64) - theirs).max() / scale)


def main() -> None:
    """Measure the chosen networks and print the table."""
    flags = parser(__doc__, "gpu_accuracy.json")
    known = sorted(path.stem for path in (HELPERS.parent / "golden").glob("*.json"))
    flags.add_argument("--networks", type=words, default=known)
    flags.add_argument("--processes", type=int, default=1, help="networks measured at once")
    options = flags.parse_args()
    # The device's name is read in a child too: this process must not take the GPU's memory.
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawned) as pool:
        device = pool.submit(_device).result()
        for finished in as_completed([pool.submit(measure, name) for name in options.networks]):
            rows = record.merge(
                options.out,
                finished.result(),
                ("network", "arithmetic"),
                order=lambda row: row["network"],
                device=device,
            )
    lines = [
        [row["network"], row["arithmetic"]]
        + [f"{row[key]:.1e}" if key in row else row["failed"] for key in ("output", "gradient")]
        for row in rows
    ]
    print(record.table(("network", "arithmetic", "output", "gradient"), lines))


def _device() -> str:
    import jax

    return jax.devices()[0].device_kind


if __name__ == "__main__":
    main()
