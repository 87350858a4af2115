"""Makes the small goldens of tests/golden: `python tests/helpers/goldens.py [network ...]`.

A golden pins a network's function where the authors' files are not at hand: parameters and inputs
come from NumPy's seeded generator, the output is ours in float64, at a commit at which the network
agreed with the authors' own outputs (tests/models).
"""

import datetime
import functools
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from noise import noise_like

from rsfusion_jax.models import abstract_params, create_model, list_models

FOLDER = Path(__file__).parents[1] / "golden"
OURS = ("anysensor", "bandwise", "onesensor")
"""Networks without a publication: their goldens only keep their function as it is."""
SMALL = {
    "ddif": {
        "inner_channel": 8,
        "channel_mults": (1, 2),
        "attn_res": (32,),
        "res_blocks": 1,
        "dropout": 0.0,
    },
    "feinfn": {
        "feat_dim": 8,
        "guide_dim": 8,
        "spa_edsr_num": 1,
        "spe_edsr_num": 1,
        "mlp_dim": (16, 12),
    },
    "mmapp": {"ratio": 2, "blocks": 1},
    "rsanet": {"blocks": 1},
    "u2net": {"dim": 16, "dim_head": 8},
}
"""Fields that keep a network small where only its form matters; the others are so as published."""


SEEDS = {"mmapp": 1}
"""With the seed of the others one of MMAPP's ReLUs would close the only path to some parameters."""


def build(name: str):
    """The network, its parameters and its inputs, all float64 and from one seed."""
    model = create_model(name, num_bands=4, **SMALL.get(name, {}))
    rng = np.random.default_rng(SEEDS.get(name, 2026))
    params = noise_like(abstract_params(model), rng)
    ratio = model.ratio
    pan, ms = rng.random((1, 16, 24, 1)), rng.random((1, 16 // ratio, 24 // ratio, 4))
    lms = np.repeat(np.repeat(ms, ratio, 1), ratio, 2)
    inputs = pan, ms, lms
    if model.predicts != "fused":
        inputs = 0.1 * rng.standard_normal(lms.shape), np.array([37]), pan, lms
    return model, params, inputs


@jax.default_matmul_precision("highest")
def output_and_gradients(name: str) -> tuple[np.ndarray, dict]:
    """What a network computes at its golden's inputs, and what its parameters have to do with it.

    Returns:
        The fused image, or the denoiser's prediction, in float64, (1, 16, 24, 4).
        Gradients, by parameter, of the sum of squares of all outputs, those for losses included.
    """
    with jax.enable_x64(True):
        model, params, inputs = build(name)

        @jax.jit
        @functools.partial(jax.value_and_grad, has_aux=True)
        def run(params):
            returned = model.apply({"params": params}, *inputs)
            total = sum(jnp.square(image).sum() for image in jax.tree.leaves(returned))
            return total, returned["fused"] if model.predicts == "fused" else returned

        (_, output), gradients = run(params)
        return np.asarray(output), gradients


def main(names):
    """Writes one JSON per network."""
    for name in names:
        fused, _ = output_and_gradients(name)
        golden = {
            "made_by": "tests/helpers/goldens.py",
            "made_on": str(datetime.date.today()),
            "jax": jax.__version__,
            "checked_against": "nothing: ours"
            if name in OURS
            else "the authors' outputs in float64, at the commit that adds this file",
            "mean": fused.mean(),
            "std": fused.std(),
            "pixels": fused[0, ::5, ::7].ravel().tolist(),
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:] or list_models())
