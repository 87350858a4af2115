"""How a network is trained on one scene: a config with the fields of configs/default.py."""

import copy

import ml_collections

from rsfusion_jax.inference.default import DEFAULT
from rsfusion_jax.models.catalogue import SMALL_WIDTHS

SMALL, LARGE = "bandwise", "fusionnet"
"""Default networks for small and for large scenes: see docs/adapt.md."""
ENOUGH = 20_000
"""MS pixels to train on from which a scene is large: between those of the two scores there."""
STEPS, FEW = 2000, 120
"""Steps, and those of a start from the packaged weights: they need a nudge, and more of it learns
the coarse scale by heart."""
SIDE = 32
"""Pixels along a side of a training patch."""
_VALIDATIONS = 5


def recipe(
    network: str | dict,
    *,
    scene: str,
    steps: int,
    ratio: int,
    init: str,
    seed: int,
    full_resolution: float = 0.0,
) -> ml_collections.ConfigDict:
    """The config of one adaptation.

    Args:
        network: name, at the width of `SMALL_WIDTHS` where it has one; or a dict of the name and
            fields of its module.
        scene: what is written where other runs name their set.
        steps: optimiser steps.
        ratio: of the scene; patches are multiples of it.
        init: run folder, checkpoint or `.pth` to start from, or "default", the packaged weights,
            which have a gentle recipe; empty for the seed's weights.
        seed: of weights, patches and order.
        full_resolution: weight of the consistency at full resolution.
    """
    if isinstance(network, str):
        network = {"name": network, **SMALL_WIDTHS.get(network, {})}
    every = -(-steps // _VALIDATIONS)
    gentle = init == DEFAULT
    return ml_collections.ConfigDict(
        {
            "name": "adaptation",
            "seed": seed,
            "model": network,
            "init_from": init,
            "init_optimizer": False,
            "data": {
                "train": scene,
                "valid": scene,
                "test": "",
                "patch_size": SIDE // ratio * ratio,
                "crops_per_sample": 64,
                "augment": "d4",
                "workers": 0,
            },
            "train": {
                "objective": "supervised",
                "loss": "relative" if gentle else "l1",
                "full_resolution": full_resolution,
                "teacher_steps": 0,
                "batch_size": 4 if gentle else 8,
                "steps": steps,
                "epochs": 0,
                "accumulate": 1,
                "remat": False,
                "dtype": "float32",
                "precision": "default",
                "ema_decay": 0.995,
                "ema_start": 0,
                "ema_warmup": True,
                "log_every": every,
                "eval_every": every,
                "checkpoint_every": every,
                "on_bad_loss": "rollback",
                "spike": 0.0,
                "max_rollbacks": 3,
            },
            "diffusion": {},
            "optim": {
                "name": "adam",
                "learning_rate": 2e-4 if gentle else 1e-3 if init else 4e-3,
                "weight_decay": 0.0,
                "clip_norm": 1.0,
                "schedule": "cosine",
                "warmup_steps": min(50, steps // 10),
                "final_rate": 0.0,
            },
            "eval": {"batch_size": 4, "best_metric": "ERGAS", "methods": ()},
            "mesh": {"devices": 1, "shard_params_over": 1},
        }
    )


def fine_tuning(
    config: ml_collections.ConfigDict, steps: int, init: str
) -> ml_collections.ConfigDict:
    """The config of a few steps at full resolution after those of `config`, without a truth.

    Args:
        config: of `recipe`.
        steps: optimiser steps.
        init: the run whose weights are tuned.
    """
    config = copy.deepcopy(config)
    config.init_from = init
    config.train.update(objective="full_resolution", full_resolution=0.0, steps=steps)
    config.train.batch_size = 2  # every patch is r^2 as large as one of the degraded scene
    config.train.update(log_every=steps, eval_every=steps, checkpoint_every=steps)
    config.optim.update(learning_rate=2e-4, warmup_steps=min(10, steps // 5))
    return config
