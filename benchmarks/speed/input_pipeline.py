"""Patches per second of the training pipeline, by how a set is stored and by worker processes.

    python -m benchmarks.speed.input_pipeline [--samples=2048] [--turns=5] [--label=now]

Run from the clone's root. Data: none, a set of 64 x 64 patches of 8 bands is drawn and written to
a temporary folder (about 1 GB; `--folder` says where).

The set is stored in four ways: as `rsfusion simulate` writes it (uncompressed NCHW), in the form
that servers often have (chunks, gzip), converted by `rsfusion convert`, and as ArrayRecord, which
the same pipeline reads through a source of this file. Batches are 32 whole patches, float32 in
[0, 1], with the augmentation d4. Stores and numbers of workers take turns (benchmarks/timing.py).
Before a "cold" measurement the system is asked to drop the file from memory. "cpu" is patches per
second of this process's CPU time, which other programs disturb less; it is left out with workers,
which are other processes.

Rows go under the label into benchmarks/results/input_pipeline.json; the table is printed.
"""

import math
import os
import tempfile
import time
import warnings
from pathlib import Path

import grain
import h5py
import numpy as np

from benchmarks import record
from benchmarks.command_line import numbers, parser
from benchmarks.timing import spread
from rsfusion_jax.data.pipeline import train_dataset
from rsfusion_jax.data.simulation.wald import simulate
from rsfusion_jax.data.stored.convert import convert_set
from rsfusion_jax.data.stored.pancollection import open_set
from rsfusion_jax.data.stored.set_file import write_set
from rsfusion_jax.ops.mtf import mtf_filter
from rsfusion_jax.sensors import get_sensor

SENSOR, BATCH, SIDE, DISTINCT = get_sensor("wv3"), 32, 64, 64
ATTRIBUTES = {"max_value": 2047.0, "sensor": "wv3", "ratio": 4, "ms_phase": 2.0}


def samples(count: int):
    """Yield simulated pairs of noise with a natural spectrum, in whole counts, all different."""
    random = np.random.default_rng(0)
    field = mtf_filter(random.normal(size=(DISTINCT, SIDE * 4, SIDE * 4, 1)), 0.02, 4)[..., 0]
    field = (field - field.min()) / np.ptp(field)
    weights = random.uniform(400, 1200, (DISTINCT, 1, 1, SENSOR.num_bands))
    pan = field[..., None] * 1200 + 200
    gt = np.rint(field[:, 2::4, 2::4, None] * weights + random.normal(0, 8, weights.shape) + 200)
    pairs = [simulate(p, m, sensor=SENSOR) for p, m in zip(pan, gt, strict=True)]
    for index in range(count):
        pair = pairs[index % DISTINCT]
        shift = index // DISTINCT  # counts
        yield {key: np.rint(image + shift).astype(np.uint16) for key, image in pair.items()}


def make_stores(folder: Path, count: int) -> dict[str, Path]:
    """Write the set in every form; return the files by name."""
    stores = {"HDF5, uncompressed": folder / "plain.h5", "HDF5, gzip": folder / "gzip.h5"}
    write_set(stores["HDF5, uncompressed"], samples(count), count, ATTRIBUTES)
    with (
        h5py.File(stores["HDF5, uncompressed"]) as plain,
        h5py.File(stores["HDF5, gzip"], "w") as packed,
    ):
        packed.attrs.update(plain.attrs)
        for key, array in plain.items():
            chunks = (1, *array.shape[1:])
            packed.create_dataset(key, data=array[()], chunks=chunks, compression="gzip")
    stores["converted"] = folder / "converted.h5"
    convert_set(stores["HDF5, gzip"], stores["converted"])
    try:
        from array_record.python.array_record_module import ArrayRecordWriter
    except ImportError:  # the package is not available on every system
        return stores
    stores["ArrayRecord"] = folder / "set.array_record"
    writer = ArrayRecordWriter(str(stores["ArrayRecord"]), "group_size:1,uncompressed")
    for sample in samples(count):
        writer.write(b"".join(sample[key].tobytes() for key in sorted(sample)))
    writer.close()
    return stores


class Records:
    """A set stored as ArrayRecord: one record per sample, its arrays (H, W, C) end to end."""

    def __init__(self, path: Path, like):
        self.info, sample = like.info, like[0]
        self._shapes = {key: sample[key].shape for key in sorted(sample)}
        self._records = grain.sources.ArrayRecordDataSource(str(path))

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int):
        values, start, sample = np.frombuffer(self._records[index], np.uint16), 0, {}
        for key, shape in self._shapes.items():
            size = math.prod(shape)
            image = values[start : start + size].reshape(shape).astype(np.float32)
            image /= np.float32(self.info.max_value)
            sample[key], start = image, start + size
        return sample


def rate(source, workers: int, batches: int) -> dict[str, float]:
    """Measure patches per second of wall time and of this process's CPU time."""
    options = {"batch_size": BATCH, "patch_size": SIDE, "seed": 0, "augment": "d4"}
    iterator = iter(train_dataset(source, workers=workers, **options))
    for _ in range(2):
        next(iterator)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(iterator)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    iterator.close()
    rates = {"wall": BATCH * batches / wall}
    return rates if workers else rates | {"cpu": BATCH * batches / cpu}


def forget(path: Path) -> None:
    """Ask the system to drop the file's pages from memory."""
    os.sync()
    file = os.open(path, os.O_RDONLY)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def measure(stores: dict[str, Path], workers: list[int], turns: int, batches: int) -> list[dict]:
    """Measure all stores, numbers of workers and states in turns."""
    plain = stores["HDF5, uncompressed"]
    sources = {
        name: Records(path, open_set(plain, sensor="wv3"))
        if name == "ArrayRecord"
        else open_set(path, sensor="wv3")
        for name, path in stores.items()
    }
    rates = {}
    for _ in range(turns):
        for count in workers:
            for name, source in sources.items():
                for state in ("cold", "warm") if count == 0 else ("warm",):
                    if state == "cold":
                        forget(stores[name])
                    for clock, value in rate(source, count, batches).items():
                        rates.setdefault((name, count, state, clock), []).append(value)
    return [
        {
            "store": name,
            "workers": count,
            "state": state,
            "clock": clock,
            "patches_per_second": {key: round(value) for key, value in spread(values).items()},
        }
        for (name, count, state, clock), values in rates.items()
        if (state, clock) != ("cold", "cpu")
    ]


def main() -> None:
    """Write the sets, measure, print the table."""
    flags = parser(__doc__, "input_pipeline.json")
    flags.add_argument("--samples", type=int, default=2048)
    flags.add_argument("--turns", type=int, default=5)
    flags.add_argument("--batches", type=int, default=48, help="timed, of 32 patches each")
    flags.add_argument("--workers", type=numbers, default=[0, 1, 2])
    flags.add_argument("--label", default="now")
    flags.add_argument("--folder", type=Path, help="where the sets are written")
    options = flags.parse_args()
    warnings.simplefilter("ignore")  # noise has no phase to be checked
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        stores = make_stores(Path(folder), options.samples)
        mebibytes = {name: round(path.stat().st_size / 2**20) for name, path in stores.items()}
        rows = measure(stores, options.workers, options.turns, options.batches)
    rows = [
        {"label": options.label, **row, "mebibytes": mebibytes[row["store"]]}
        | {"samples": options.samples, "turns": options.turns}
        for row in rows
    ]
    keys = "label", "store", "workers", "state", "clock"
    record.merge(options.out, rows, keys, packages=("grain", "h5py", "array_record"))
    lines = []
    for row in rows:
        rates = "{median} ({least} to {most})".format(**row["patches_per_second"])
        lines.append([row["store"], row["workers"], row["state"], row["clock"], rates])
    print(record.table(("store", "workers", "state", "clock", "patches per second"), lines))


if __name__ == "__main__":
    main()
