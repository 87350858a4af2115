"""The data sets that the recipes take as their argument; not a run of its own."""

from rsfusion_jax.sensors import list_sensors


def names() -> list[str]:
    """What `select` takes."""
    return ["synthetic", *list_sensors()]


def select(config, data_set: str, max_value: float | None = 2047.0) -> None:
    """Points a config at a data set.

    Args:
        config: as in configs/default.py; its batch size and number of epochs are set already.
        data_set: a sensor for files of PanCollection's names and layout, or `synthetic` for
            built-in scenes at the recipe's full width (meant for a GPU).
        max_value: divisor of the counts; the recipes here divide every sensor's by 2047.

    Raises:
        ValueError: an unknown data set.
    """
    if data_set not in names():
        raise ValueError(f"data set {data_set!r}; choose one of {', '.join(names())}")
    data = config.data
    if data_set == "synthetic":
        data.sensor = "wv3"
        data.crops_per_sample = 16
        data.synthetic.update(train_scenes=256, size=128)
        config.train.update(steps=20_000, epochs=0)
        return
    data.sensor, data.max_value = data_set, max_value
    data.train = f"training_{data_set}/train_{data_set}.h5"
    data.valid = f"training_{data_set}/valid_{data_set}.h5"
    data.test = f"test_data/test_{data_set}_multiExm1.h5"
