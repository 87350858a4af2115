"""The data sets that recipes take as their argument (not a recipe itself)."""

from rsfusion_jax.errors import UserError

_PANCOLLECTION = ("wv3", "qb", "gf2", "wv2")
# Endings of the published file names of CAVE and Harvard; one of them has no `_rgb`.
_HISR = {"cave_x4": "x4", "cave_x8": "x8_rgb", "harvard_x4": "x4_rgb", "harvard_x8": "x8_rgb"}
_HYPERSPECTRAL = ("pavia", "chikusei")


def names() -> list[str]:
    """Return the names that `select` accepts."""
    return ["synthetic", *_PANCOLLECTION, *_HISR, *_HYPERSPECTRAL, "sen12ms_cr"]


def select(config, data_set: str, max_value: float | None = 2047.0) -> None:
    """Set the fields of a config that select a data set.

    The files have their published names, relative to the working directory. For other files, set
    `--config.data.train=...` and so on.

    Args:
        config: config of a run, whose batch size and number of epochs are already set.
        data_set: one of `names()`. "synthetic" trains a network of full width on built-in scenes,
            which needs a GPU. Of WorldView-2 only a test set is published.
        max_value: divisor of the counts of PanCollection, 2047 for every sensor in most recipes.
            Other data sets have their own scale.

    Raises:
        UserError: the data set is unknown.
    """
    if data_set not in names():
        raise UserError(f"data set {data_set!r}; choose one of {', '.join(names())}")
    data = config.data
    if data_set == "synthetic":
        data.sensor = "wv3"
        data.crops_per_sample = 16
        data.synthetic.update(train_scenes=256, size=128)
        config.train.update(steps=20_000, epochs=0)
    elif data_set in _PANCOLLECTION:
        data.sensor, data.max_value = data_set, max_value
        data.train = f"training_{data_set}/train_{data_set}.h5"
        data.valid = f"training_{data_set}/valid_{data_set}.h5"
        data.test = f"test_data/test_{data_set}_multiExm1.h5"
    elif data_set in _HISR:
        data.sensor, ratio = data_set.split("_x")
        data.ratio = int(ratio)
        for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
            data[split] = f"{data_set}/{name}_{data.sensor}(with_up){_HISR[data_set]}.h5"
        config.eval.methods = ()  # the classical methods need a PAN image of one band
    elif data_set in _HYPERSPECTRAL:
        data.sensor = data_set
        for split in ("train", "valid", "test"):
            data[split] = f"{data_set}/{split.title()}_{data_set.title()}.h5"
    else:
        data.sensor, data.ratio = data_set, 1
        data.train = data.valid = data.test = "SEN12MS-CR"
        config.eval.update(methods=(), best_metric="PSNR")
