"""U2Net (ACM MM 2023), the authors' recipe: L1, Adam 1e-3 halved every 100 of 500 epochs, batch 16.

    python train.py --config=configs/u2net.py:wv3 \
        --config.data.train=train_wv3.h5 --config.data.valid=valid_wv3.h5 \
        --config.data.test=test_wv3_multiExm1.h5

Arguments: wv2, wv3, wv4, qb, gf2, ikonos, ge1 for files of that sensor, synthetic for built-in
scenes at the full width (hours on a CPU; meant for a GPU). The authors divide every sensor's counts
by 2047; published scores of the wv3 recipe: SAM 2.888, ERGAS 2.149, Q8 0.920.
"""

from configs import default
from rsfusion_jax.sensors import list_sensors


def get_config(data_set: str = "wv3"):
    """The published recipe on one data set."""
    config = default.get_config()
    config.name = f"u2net_{data_set}"
    config.seed = 1
    config.model = {"name": "u2net", "dim": 32, "dim_head": 16}
    config.data.patch_size = 64
    config.train.batch_size = 16
    config.train.steps = 0
    config.train.epochs = 500
    config.train.eval_every = 2000
    config.train.checkpoint_every = 1000
    config.optim.learning_rate = 1e-3
    config.optim.schedule = "step"
    config.optim.warmup_steps = 0
    if data_set == "synthetic":
        config.data.sensor = "wv3"
        config.data.synthetic.update(train_scenes=256, size=128)
        config.train.epochs = 100
        config.optim.step_epochs = 20
        return config
    if data_set not in list_sensors():
        raise ValueError(f"data set {data_set!r}; choose synthetic, {', '.join(list_sensors())}")
    config.data.sensor = data_set
    config.data.max_value = 2047.0
    config.data.crops_per_sample = 1
    config.data.train = f"training_{data_set}/train_{data_set}.h5"
    config.data.valid = f"training_{data_set}/valid_{data_set}.h5"
    config.data.test = f"test_data/test_{data_set}_multiExm1.h5"
    return config
