"""The config for training on one scene: its differences from the default config of a run."""

import copy

import ml_collections

from rsfusion_jax.inference.default import DEFAULT
from rsfusion_jax.models.catalogue import SMALL_WIDTHS
from rsfusion_jax.training.config import default_config

NETWORK = "onesensor"
"""Default network; docs/results.md has the scores of others."""
STEPS, FEW = 1000, 240
"""Default numbers of steps: with `ENOUGH` MS pixels to train on; and from the packaged weights with
fewer pixels, where more steps overfit the degraded scale."""
ENOUGH = 20_000
"""Between the sizes in docs/results.md at which a FusionNet has too few pixels and enough."""
SIDE = 32
"""Side of a training patch in pixels."""
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
    """Return the config of one adaptation.

    Args:
        network: name, at the width of `SMALL_WIDTHS` where it has one; or a dict of the name and
            fields of its module.
        scene: name of the scene, recorded in place of a data set.
        steps: number of optimiser steps.
        ratio: PAN pixels per MS pixel; the patch size is a multiple of it.
        init: run folder, checkpoint or `.pth` to start from, or "default", the packaged weights,
            or OneSensor on top of them; empty for random weights.
        seed: seed of the weights, the patches and their order.
        full_resolution: weight of the consistency at full resolution.
    """
    if isinstance(network, str):
        network = {"name": network, **SMALL_WIDTHS.get(network, {})}
    every = -(-steps // _VALIDATIONS)
    gentle = init == DEFAULT and network["name"] != NETWORK  # all of its weights are trained
    config = default_config()
    config.update(name="adaptation", seed=seed, init_from=init)
    config.model = network
    # The sets are windows of the scene in memory, whose sensor adaptation.json records.
    config.data.update(sensor="", train=scene, valid=scene, test="")
    config.data.update(patch_size=SIDE // ratio * ratio, crops_per_sample=64, augment="d4")
    config.train.update(steps=steps, batch_size=4 if gentle else 8, ema_decay=0.995)
    config.train.update(ema_warmup=True, loss="relative" if init == DEFAULT else "l1")
    config.train.update(full_resolution=full_resolution, on_bad_loss="rollback", teacher_steps=0)
    config.train.update(log_every=every, eval_every=every, checkpoint_every=every)
    trained = init not in ("", DEFAULT)
    config.optim.learning_rate = 5e-4 if gentle else 1e-3 if trained else 4e-3
    config.optim.update(clip_norm=1.0, warmup_steps=min(50, steps // 10))
    config.eval.methods = ()
    config.mesh.devices = 1
    return config


def fine_tuning(
    config: ml_collections.ConfigDict, steps: int, init: str
) -> ml_collections.ConfigDict:
    """Return the config of a few more steps, at full resolution and without ground truth.

    Args:
        config: config of the adaptation, from `recipe`.
        steps: number of optimiser steps.
        init: run folder of the adaptation, whose weights are fine-tuned.
    """
    config = copy.deepcopy(config)
    config.init_from = init
    config.train.update(objective="full_resolution", full_resolution=0.0, steps=steps)
    config.train.batch_size = 2  # every patch is r^2 as large as one of the degraded scene
    config.train.update(log_every=steps, eval_every=steps, checkpoint_every=steps)
    config.optim.update(learning_rate=2e-4, warmup_steps=min(10, steps // 5))
    return config
