"""The recipes of DLPan-Toolbox for its networks (not a recipe itself).

Reference: L.-J. Deng et al., "Machine Learning in Pansharpening: A Benchmark, from Shallow to Deep
Networks", IEEE GRSM 10(3), 2022, doi:10.1109/MGRS.2022.3187652. The values are those of the
toolbox's training scripts.
"""

import dataclasses

from rsfusion_jax.sensors import get_sensor
from rsfusion_jax.training.config import default_config

from . import data_sets


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings that differ between networks; MSE, clipping at 10 and patches of 64 are common."""

    learning_rate: float
    epochs: int
    batch_size: int
    optimizer: str = "adam"
    weight_decay: float = 0.0
    step_epochs: int = 0  # epochs after which the rate is divided by 10; 0: never


RECIPES = {
    "dicnn": Recipe(2e-4, 5000, 64, step_epochs=1500),
    "drpnn": Recipe(2e-4, 500, 32, step_epochs=30),
    "fusionnet": Recipe(3e-4, 400, 32),
    "msdcnn": Recipe(1e-6, 500, 64, weight_decay=1e-5, step_epochs=40),
    "pannet": Recipe(1e-3, 450, 32),
    "pnn": Recipe(1e-4 * 17 * 17, 12_000, 64, optimizer="sgd"),  # multiplied by the number of bands
}


def recipe(network: str, data_set: str):
    """Return the toolbox's recipe for one network."""
    config, numbers = default_config(), RECIPES[network]
    config.name = f"{network}_{data_set}"
    config.model = {"name": network}
    config.data.patch_size = 64
    config.data.crops_per_sample = 1
    config.train.update(loss="mse", batch_size=numbers.batch_size, steps=0)
    config.train.update(epochs=numbers.epochs, eval_every=2000, checkpoint_every=1000)
    config.optim.update(name=numbers.optimizer, learning_rate=numbers.learning_rate)
    config.optim.update(weight_decay=numbers.weight_decay, clip_norm=10.0, warmup_steps=0)
    config.optim.schedule = "constant"
    if numbers.step_epochs:
        config.optim.update(schedule="step", step_epochs=numbers.step_epochs, gamma=0.1)
    data_sets.select(config, data_set)
    if network == "pnn":
        config.optim.learning_rate *= get_sensor(config.data.sensor).num_bands
    return config
