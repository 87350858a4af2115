"""NaN in a set: the sample and the key are named."""

import subprocess
import sys

import h5py
import numpy as np
import pytest
from tiny_runs import tiny_config

import rsfusion_jax as rsf
from rsfusion_jax.data.doctor.doctor import examine
from rsfusion_jax.data.invalid import invalid_samples
from rsfusion_jax.data.pipeline import samples_of_batch, train_dataset
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.data.stored.check import sampled_indices
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.training.loop import train


class Numbered:
    """Samples that hold their index."""

    info = SetInfo("numbered", rsf.get_sensor("qb"), 4, 1, 4, 1.0, 2.0, True)

    def __len__(self):
        return 7

    def __getitem__(self, index):
        shapes = {"pan": (8, 8, 1), "ms": (2, 2, 4), "lms": (8, 8, 4), "gt": (8, 8, 4)}
        return {key: np.full(shape, index, np.float32) for key, shape in shapes.items()}


def test_samples_of_a_batch():
    options = {"batch_size": 3, "seed": 6, "crops_per_sample": 2}
    batches = iter(train_dataset(Numbered(), patch_size=4, threads=0, **options))
    for number in range(9):
        expected = next(batches)["pan"][:, 0, 0, 0].tolist()
        assert samples_of_batch(Numbered(), number, **options) == expected


@pytest.fixture(scope="module")
def set_with_nan(tmp_path_factory):
    """Forty images; none of those that are looked at on opening is invalid."""
    path = tmp_path_factory.mktemp("set") / "train.h5"
    rng = np.random.default_rng(4)
    gt = rng.integers(200, 1800, (40, 4, 16, 16)).astype(np.float32)
    with h5py.File(path, "w") as file:
        file.update({"gt": gt, "ms": gt[:, :, 2::4, 2::4], "pan": gt[:, :1]})
    unseen = sorted(set(range(40)) - set(sampled_indices(40)))
    with h5py.File(path, "r+") as file:
        file["pan"][unseen[2], 0, 3, 5] = np.inf
        file["gt"][unseen[2], 1, 3, 5] = np.nan
        file["ms"][unseen[7], 3, 1, 1] = np.nan
    return path, unseen[2], unseen[7]


def test_invalid_samples_and_check_name_them(set_with_nan):
    path, first, second = set_with_nan
    source = open_set(path, sensor="qb")
    text = invalid_samples(source, range(40))
    assert text == f"'pan' and 'gt' of sample {first}, 'ms' of sample {second}"
    assert invalid_samples(source, [0, 39]) == ""
    errors = [finding.text for finding in examine(path) if finding.level == "error"]
    assert f"'ms' holds NaN or infinite values in 1 of 40 images: image {second}" in errors


def test_a_bad_loss_names_the_samples_of_its_batch(set_with_nan, tmp_path):
    path, *bad = set_with_nan
    config = tiny_config()
    with config.unlocked():
        config.model = type(config)({"name": "pnn"})
    config.data.update(train=str(path), valid="", test="", patch_size=0, sensor="qb")
    config.data.crops_per_sample = 1
    config.train.update(batch_size=4, steps=12, log_every=5, checkpoint_every=100)
    with pytest.raises(rsf.UserError, match="whose batch holds NaN or infinite values") as caught:
        train(config, tmp_path / "run")
    message = str(caught.value)
    batches = [
        samples_of_batch(open_set(path, sensor="qb"), number, batch_size=4, seed=config.seed)
        for number in range(12)
    ]
    step = next(i for i, batch in enumerate(batches) if set(batch) & set(bad))
    assert f"at step {step + 1}, " in message
    (sample,) = set(batches[step]) & set(bad)
    assert f" of sample {sample} of train.h5)" in message and "rsfusion check" in message
    assert "learning_rate" not in message


def test_a_set_that_another_program_writes(tmp_path):
    path = tmp_path / "set.h5"
    program = (
        "import h5py, sys; file = h5py.File(sys.argv[1], 'w'); file['gt'] = [1]; file.flush(); "
        "print('open', flush=True); input()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert writer.stdout.readline() == "open\n"
        with pytest.raises(rsf.UserError, match="is open for writing in another program"):
            open_set(path, sensor="qb")
    finally:
        writer.communicate("\n")
