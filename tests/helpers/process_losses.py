"""Losses of tiny networks on a mesh, in this process or, as a program, in one of several.

python tests/helpers/process_losses.py <coordinator> <processes> <process> <shard_params_over> <out>
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import optax

from rsfusion_jax.inference.draw import Diffusion
from rsfusion_jax.models import abstract_params, create_model, init_params
from rsfusion_jax.runs.processes import barrier, connect
from rsfusion_jax.runs.state import create_state
from rsfusion_jax.training import sharding
from rsfusion_jax.training.objectives import make_objective
from rsfusion_jax.training.step import make_train_step

NETWORKS = {
    "pannet": {},
    "u2net": {"dim": 8, "dim_head": 4},
    "ramsf": {"feat_dim": 8, "guide_dim": 8, "mlp_dim": (16,), "nir_dim": 5},
    "feinfn": {
        "feat_dim": 8,
        "guide_dim": 8,
        "spa_edsr_num": 1,
        "spe_edsr_num": 1,
        "mlp_dim": (16,),
    },
    "ddif": {"inner_channel": 8, "channel_mults": (1,), "attn_res": (64,), "res_blocks": 1},
    "cf2n": {"channels": 8, "n": 1},
    "mmapp": {"ratio": 2, "channels": 8, "blocks": 1},
    "rsanet": {"channels": 8, "blocks": 1},
}
_STEPS, _BATCH, _SIZE = 3, 8, 16


def batch_of(rows=slice(None), ratio: int = 4) -> dict[str, np.ndarray]:
    """One batch, the same in every process; `rows` of it."""
    rng = np.random.default_rng(0)
    low = _SIZE // ratio
    shapes = {"pan": (_SIZE, _SIZE, 1), "ms": (low, low, 4), "gt": (_SIZE, _SIZE, 4)}
    batch = {key: rng.random((_BATCH, *shape), np.float32) for key, shape in shapes.items()}
    batch["lms"] = batch["gt"] * np.float32(0.9)
    return {key: value[rows] for key, value in batch.items()}


@jax.default_matmul_precision("highest")
def prepare(network: str, mesh):
    """(compiled step, state) on a mesh that is set."""
    model = create_model(network, num_bands=4, **NETWORKS.get(network, {}))
    # Plain descent: Adam divides by tiny second moments and makes a lottery of rounding.
    optimizer = optax.sgd(0.05, momentum=0.9)
    kind = "supervised" if model.predicts == "fused" else "diffusion"
    step = make_train_step(model, make_objective(kind, "l1", Diffusion()), optimizer)

    def begin(params, key):
        return create_state(params, optimizer, key, ema=False)

    key = jax.random.key(0)
    placed = sharding.state_shardings(mesh, jax.eval_shape(begin, abstract_params(model), key))
    # Each parameter is drawn by a small program: one for all of MMAPP's takes minutes to compile.
    params = jax.device_put(jax.device_get(init_params(model, key)), placed.params)
    state = jax.jit(begin, out_shardings=placed)(params, key)
    step = jax.jit(step, donate_argnums=0, out_shardings=(placed, sharding.replicated(mesh)))
    rows = _BATCH // jax.process_count()
    mine = slice(jax.process_index() * rows, (jax.process_index() + 1) * rows)
    batch = sharding.put_batch(mesh, batch_of(mine, model.ratio))
    compiled = step.lower(state, batch).compile()
    barrier("step compiled")
    return compiled, state, batch


def losses(network: str, mesh) -> list[float]:
    """Losses of a few steps."""
    with jax.set_mesh(mesh):
        step, state, batch = prepare(network, mesh)
        values = []
        for _ in range(_STEPS):
            state, metrics = step(state, batch)
            values.append(float(metrics["loss"]))
    return values


def main(coordinator, processes, process, fsdp, out, *networks):
    connect(coordinator, int(processes), int(process))
    mesh = sharding.make_mesh(0, int(fsdp))
    found = {network: losses(network, mesh) for network in networks}
    Path(out).write_text(json.dumps({"devices": jax.device_count(), "losses": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
