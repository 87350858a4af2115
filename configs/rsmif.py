"""The common recipe of the networks of the RSMIF collection (not a recipe itself)."""

from rsfusion_jax.training.config import default_config

from . import data_sets


def recipe(network: str, data_set: str):
    """Return the recipe of one network.

    L1, batch 32, patches of 64 pixels, seed 42, 600 epochs of Adam at a learning rate of 3e-4,
    which is multiplied by 0.9 after 100 epochs.

    Args:
        network: name of the network.
        data_set: one of `data_sets.names()`.
    """
    config = default_config()
    config.name = f"{network}_{data_set}"
    config.seed = 42
    config.model = {"name": network}
    config.data.patch_size = 64
    config.data.crops_per_sample = 1
    config.train.update(batch_size=32, steps=0, epochs=600)
    config.train.update(eval_every=2000, checkpoint_every=1000)
    config.optim.update(learning_rate=3e-4, schedule="milestones", warmup_steps=0)
    config.optim.update(milestones=(100,), gamma=0.9)
    data_sets.select(config, data_set)
    return config
