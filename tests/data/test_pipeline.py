"""Batches: alignment of crops and flips, order, shards, resumption, scoring exactly once."""

import json
import pickle
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest

from rsfusion_jax.data.augment import dihedral
from rsfusion_jax.data.pipeline import Batches, Cached, eval_batches, steps_per_epoch, train_dataset
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.errors import UserError
from rsfusion_jax.sensors import get_sensor


class Coordinates:
    """Samples that say where they are: channels (sample, row, column) on the PAN grid.

    `ms` holds the position of its own centre, so it equals an `lms` decimated at the set's phase.
    """

    def __init__(self, count=12, shape=(8, 8), ratio=4, ms_phase=None, jitter=0.0):
        self.shapes = shape if isinstance(shape, list) else [shape] * count
        self.jitter = jitter
        self.info = SetInfo(
            name="coordinates",
            sensor=get_sensor("wv3"),
            num_bands=3,
            guide_bands=3,
            ratio=ratio,
            max_value=1.0,
            ms_phase=ratio // 2 if ms_phase is None else ms_phase,
            has_gt=True,
        )

    def __len__(self):
        return len(self.shapes)

    def __getitem__(self, index):
        ratio, (height, width) = self.info.ratio, self.shapes[index]
        grid = _grid(index, np.arange(height * ratio), np.arange(width * ratio))
        centres = [ratio * np.arange(side) + self.info.ms_phase for side in (height, width)]
        ms = _grid(index, *centres) + np.float32(self.jitter)
        return {"pan": grid, "ms": ms, "lms": grid.copy(), "gt": grid.copy()}


def _grid(index, rows, columns):
    return np.stack(np.broadcast_arrays(index, rows[:, None], columns), -1).astype(np.float32)


def take(dataset, count):
    iterator = iter(dataset)
    return [next(iterator) for _ in range(count)]


def samples_of(*batches):
    return [int(pan[0, 0, 0]) for batch in batches for pan in batch["pan"]]


def assert_equal_batches(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("ratio", [1, 2, 3, 4, 6])
def test_crops_stay_aligned(ratio):
    source = Coordinates(ratio=ratio, shape=(7, 9))
    dataset = train_dataset(source, batch_size=8, patch_size=4 * ratio, seed=1, crops_per_sample=8)
    starts = set()
    for batch in take(dataset, 12):
        assert {key: array.shape for key, array in batch.items()} == {
            "ms": (8, 4, 4, 3),
            **dict.fromkeys(("pan", "lms", "gt"), (8, 4 * ratio, 4 * ratio, 3)),
        }
        assert all(
            array.dtype == np.float32 and array.flags.c_contiguous for array in batch.values()
        )
        np.testing.assert_array_equal(batch["pan"], batch["gt"])
        np.testing.assert_array_equal(batch["pan"], batch["lms"])
        phase = slice(ratio // 2, None, ratio)
        np.testing.assert_array_equal(batch["ms"], batch["lms"][:, phase, phase])
        corners = batch["pan"][:, 0, 0, 1:].astype(int)
        assert not (corners % ratio).any()
        starts |= {tuple(corner // ratio) for corner in corners}
        steps = np.diff(batch["pan"][..., 1], axis=1), np.diff(batch["pan"][..., 2], axis=2)
        assert all((step == 1).all() for step in steps)
    assert starts == {(row, column) for row in range(4) for column in range(6)}


@pytest.mark.parametrize(("ratio", "ms_phase"), [(4, 2), (4, 1.5), (3, 1), (2, 1), (1, 0)])
def test_flips_and_rotations_stay_aligned(ratio, ms_phase):
    source = Coordinates(ratio=ratio, ms_phase=ms_phase)
    dataset = train_dataset(source, batch_size=8, patch_size=4 * ratio, seed=1, augment="d4")
    turns = set()
    for batch in take(dataset, 20):
        np.testing.assert_array_equal(batch["pan"], batch["gt"])
        np.testing.assert_array_equal(batch["pan"], batch["lms"])
        if ms_phase == ratio // 2:
            expected = batch["lms"][:, ratio // 2 :: ratio, ratio // 2 :: ratio]
        else:  # an area-aligned MS pixel sits at the mean position of its PAN pixels
            expected = batch["lms"].reshape(8, 4, ratio, 4, ratio, 3).mean(axis=(2, 4))
        np.testing.assert_array_equal(batch["ms"], expected)
        down = batch["pan"][:, 1, 0, 1:] - batch["pan"][:, 0, 0, 1:]
        right = batch["pan"][:, 0, 1, 1:] - batch["pan"][:, 0, 0, 1:]
        assert (np.abs(down).sum(-1) == 1).all() and (np.abs(right).sum(-1) == 1).all()
        turns |= {(*one, *other) for one, other in zip(down, right, strict=True)}
    assert len(turns) == 8


def test_only_flips_of_decimated_sets_remake_ms():
    sample = Coordinates(jitter=5e-4)[0]
    for element in range(8):
        turned = dihedral(sample, element, 4, remake_ms=True)
        remade = np.array_equal(turned["ms"], turned["lms"][2::4, 2::4])
        assert remade == (element not in (0, 1))
    np.testing.assert_array_equal(
        dihedral(sample, 1, 4, remake_ms=True)["ms"], sample["ms"].swapaxes(0, 1)
    )


def test_flips_are_refused_where_they_would_break_the_phase():
    options = {"batch_size": 2, "patch_size": 8, "seed": 0, "augment": "d4"}
    with pytest.raises(UserError, match=r"ms_phase=1, expected 2 or 1.5 .* use augment='none'"):
        train_dataset(Coordinates(ms_phase=1), **options)
    with pytest.raises(UserError, match=r"'lms' of sample 0 differs from 'ms' by 0.25 .* use aug"):
        train_dataset(Coordinates(jitter=0.25), **options)
    with pytest.raises(UserError, match=r"samples of coordinates are 32x48; set patch_size"):
        train_dataset(Coordinates(shape=(8, 12)), **{**options, "patch_size": None})


def test_every_epoch_is_a_new_order_of_all_samples():
    dataset = train_dataset(Coordinates(), batch_size=4, patch_size=None, seed=3)
    batches = take(dataset, 9)
    epochs = [samples_of(*batches[i : i + 3]) for i in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    other = train_dataset(Coordinates(), batch_size=4, patch_size=None, seed=4)
    assert samples_of(take(other, 1)[0]) != epochs[0][:4]


def test_batches_run_across_epochs_and_crops_multiply_them():
    source = Coordinates(count=5)
    dataset = train_dataset(source, batch_size=4, patch_size=16, seed=0, crops_per_sample=3)
    batches = take(dataset, 15)  # 60 patches: four epochs of 15
    assert all(len(batch["pan"]) == 4 for batch in batches)
    seen = samples_of(*batches)
    for epoch in range(4):
        assert sorted(seen[15 * epoch : 15 * epoch + 15]) == sorted([0, 1, 2, 3, 4] * 3)
    assert steps_per_epoch(source, batch_size=4, crops_per_sample=3) == 4
    assert steps_per_epoch(source, batch_size=5) == 1


def test_processes_split_the_batches_of_one_process():
    options = {"batch_size": 6, "patch_size": 16, "seed": 5, "augment": "d4"}
    whole = take(train_dataset(Coordinates(), **options), 6)
    shards = [
        take(train_dataset(Coordinates(), process_index=p, process_count=3, **options), 6)
        for p in range(3)
    ]
    joined = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for parts in zip(*shards, strict=True)
    ]
    assert_equal_batches(joined, whole)
    for epoch in (0, 1):
        seen = [
            i
            for shard in shards
            for batch in shard[2 * epoch : 2 * epoch + 2]
            for i in samples_of(batch)
        ]
        assert sorted(seen) == list(range(12))


@pytest.mark.parametrize("threads", [0, 2])
def test_iterator_resumes_exactly(threads):
    options = {"batch_size": 5, "patch_size": 16, "seed": 2, "augment": "d4"}
    reference = take(train_dataset(Coordinates(), threads=0, **options), 14)
    iterator = iter(train_dataset(Coordinates(), threads=threads, **options))
    first = [next(iterator) for _ in range(7)]
    state = json.loads(json.dumps(iterator.get_state()))
    beyond = [next(iterator) for _ in range(3)]  # reading on changes nothing
    resumed = iter(train_dataset(Coordinates(), threads=threads, **options))
    resumed.set_state(state)
    rest = [next(resumed) for _ in range(7)]
    assert_equal_batches(first + rest, reference)
    assert_equal_batches(beyond, rest[:3])


def test_workers_and_threads_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    with h5py.File(tmp_path / "train.h5", "w") as file:
        for key, shape in {"gt": (8, 32, 32), "ms": (8, 8, 8), "pan": (1, 32, 32)}.items():
            file[key] = rng.integers(0, 2048, (10, *shape)).astype(np.uint16)
    source = open_set(tmp_path / "train.h5", sensor="wv3")
    options = {"batch_size": 4, "patch_size": 16, "seed": 0, "augment": "d4"}
    expected = take(train_dataset(source, threads=0, **options), 6)
    assert_equal_batches(take(train_dataset(source, threads=3, **options), 6), expected)
    # A position may be passed on between any numbers of workers.
    plain = Batches(train_dataset(source, **options))
    workers = Batches(train_dataset(source, workers=2, threads=1, **options))
    first = next(plain)
    workers.set_state(json.loads(json.dumps(plain.get_state())))
    batches = [first, *(next(workers) for _ in range(4))]
    plain.set_state(json.loads(json.dumps(workers.get_state())))
    workers.close()
    assert_equal_batches([*batches, next(plain)], expected)


def test_batches_of_one_own_their_memory():
    cached = Cached(Coordinates())
    batch = take(train_dataset(cached, batch_size=1, patch_size=None, seed=0), 1)[0]
    batch["pan"][:] = -1
    assert all((sample["pan"] >= 0).all() for sample in cached)


def test_bad_requests_name_the_field():
    good = {"batch_size": 4, "patch_size": 16, "seed": 0}
    for change, message in {
        ("batch_size", 0): r"batch_size=0 .* positive multiple of 1",
        ("process_count", 3): r"batch_size=4 cannot be split over 3 processes; choose",
        ("patch_size", 18): r"patch_size=18 is no positive multiple of the ratio 4 .* choose 16",
        ("patch_size", 64): r"patch_size=64 exceeds .* coordinates, 32x32 .* smaller",
        ("crops_per_sample", 0): r"crops_per_sample=0 must be at least 1",
        ("augment", "flip"): r"augment='flip' is unknown; choose one of none, d4",
    }.items():
        with pytest.raises(UserError, match=message):
            train_dataset(Coordinates(), **{**good, change[0]: change[1]})
    with pytest.raises(UserError, match="coordinates holds no samples"):
        train_dataset(Coordinates(count=0), **good)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 8, 32])
@pytest.mark.parametrize("shape", [(2, 2), [(2, 2)] * 3 + [(2, 3)] * 2 + [(2, 2)] * 2])
def test_scoring_sees_every_sample_once(batch_size, shape):
    source = Coordinates(count=7, shape=shape)
    valid = []
    for batch, mask, indices in eval_batches(source, batch_size):
        assert mask.dtype == bool and mask.shape == indices.shape == (batch_size,)
        assert mask[0] and not (np.diff(mask.astype(int)) > 0).any()  # padding only at the end
        for row, index in enumerate(indices):
            for key, array in source[index].items():
                np.testing.assert_array_equal(batch[key][row], array)
        assert (indices[~mask] == indices[mask][-1]).all()
        valid += indices[mask].tolist()
    assert valid == list(range(7))


def test_scoring_an_empty_set_or_no_batch():
    assert list(eval_batches(Coordinates(count=0), 4)) == []
    with pytest.raises(UserError, match="batch_size=0 must be at least 1"):
        next(eval_batches(Coordinates(), 0))


class Rendering(Coordinates):
    """Coordinates that count how often each sample was made."""

    def __init__(self, fail_at=None):
        super().__init__(count=10)
        self.fail_at = fail_at
        self.made = []

    def __getitem__(self, index):
        self.made.append(index)
        time.sleep(0.005)
        if index == self.fail_at:
            raise UserError("sample cannot be rendered")
        return super().__getitem__(index)


def test_cached_renders_once_and_serves_copies():
    source, calls = Rendering(), []
    cached = Cached(source, threads=3, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(n, 10) for n in range(1, 11)]
    assert sorted(source.made) == list(range(10))
    assert cached.info is source.info and len(cached) == len(list(cached)) == 10
    for index in (0, 9):
        np.testing.assert_array_equal(cached[index]["gt"], Coordinates()[index]["gt"])
    assert len(source.made) == 10
    cached[0].pop("gt")
    assert "gt" in cached[0]
    with pytest.raises(ValueError, match="read-only"):
        cached[0]["pan"][0] = 1
    with pytest.raises(IndexError):
        cached[10]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cached))[3]["ms"], cached[3]["ms"])
    dataset = train_dataset(cached, batch_size=5, patch_size=16, seed=0, augment="d4")
    assert sorted(samples_of(*take(dataset, 2))) == list(range(10))


def test_cached_stops_at_an_error():
    source = Rendering(fail_at=1)
    with pytest.raises(UserError, match="cannot be rendered"):
        Cached(source, threads=1)
    assert len(source.made) < 10


def test_importing_the_package_stays_light():
    code = (
        "import sys, rsfusion_jax.data;"
        "print([m for m in ('grain', 'h5py', 'orbax', 'rasterio') if m in sys.modules]);"
        "import rsfusion_jax.data.pipeline; print('grain' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["[]", "False"]
