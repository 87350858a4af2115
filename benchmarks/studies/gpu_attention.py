"""cuDNN's attention beside ours on an NVIDIA GPU: accuracy, time and memory in bfloat16.

    python -m benchmarks.studies.gpu_attention

Run from the clone's root. Data: none, normal random numbers. Without an NVIDIA GPU, or without
cuDNN, only ours is measured.

"output" and "gradient" are the largest differences from our attention in float32, of the output and
of the gradients of query, key and value, relative to the largest magnitude; the inputs are numbers
that bfloat16 has. Rounding to bfloat16 alone is 4e-3. "ms" is forward and backward pass together,
the shortest of several calls; "MB" is the compiler's count of temporary memory.

Rows go to benchmarks/results/gpu_attention.json; the table is printed.
"""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import record, timing
from benchmarks.command_line import parser, words
from rsfusion_jax.ops import attention, cudnn_attention

SHAPES = {  # images, tokens, heads, channels of a head
    "u2net": (16, 4096, 2, 16),
    "ddif": (16, 1024, 8, 32),
    "wide": (4, 1024, 2, 128),
    "short": (3, 78, 2, 8),
}
CALLS = 10


def compiled(images):
    """Compile output and gradients of the attention of these images."""

    @jax.jit
    def run(images):
        out, pull = jax.vjp(attention.attention, *images)
        return out, *pull(jnp.cos(out.astype(jnp.float32)).astype(out.dtype))

    return run.lower(images).compile()


def measure(name: str) -> list[dict]:
    """Measure all rows of one shape."""
    random = np.random.default_rng(0)
    images = [jnp.asarray(random.normal(size=SHAPES[name]), jnp.bfloat16) for _ in range(3)]
    with jax.default_matmul_precision("highest"):
        wide = [image.astype(jnp.float32) for image in images]
        expected = jax.device_get(compiled(wide)(wide))
    with cudnn_attention.without_cudnn():
        programs = {"ours": compiled(images)}
    on_cuda = jax.devices()[0].platform == "gpu"
    if on_cuda and cudnn_attention.is_offered(*images):
        programs["cudnn"] = compiled(images)
    rows = []
    for implementation, program in programs.items():
        results = jax.device_get(program(images))
        out, *gradients = map(_difference, results, expected)
        ms = 1e3 * min(timing.seconds(lambda program=program: program(images), CALLS))
        memory = program.memory_analysis().temp_size_in_bytes / 1e6
        row = {"attention": name, "shape": SHAPES[name], "by": implementation, "output": out}
        rows.append({**row, "gradient": max(gradients), "ms": ms, "MB": memory})
    return rows


def _difference(ours, expected) -> float:
    return float(np.abs(ours.astype(np.float32) - expected).max() / np.abs(expected).max())


def main() -> None:
    """Measure all shapes and print the table."""
    flags = parser(__doc__, "gpu_attention.json")
    flags.add_argument("--shapes", type=words, default=list(SHAPES), help="some of the shapes")
    options = flags.parse_args()
    for name in options.shapes:
        rows = record.merge(options.out, measure(name), ("attention", "by"))
    names = ("output", "gradient", "ms", "MB")
    lines = [[row["attention"], row["by"], *(f"{row[key]:.2g}" for key in names)] for row in rows]
    print(record.table(("attention", "by", *names), lines))


if __name__ == "__main__":
    main()
