"""Batching: an endless shuffled stream for training, and a single ordered pass for evaluation.

The training stream is a `grain.MapDataset`, in which batch k is a pure function of k and the seed:
batches do not depend on threads or worker processes, and the state of an iterator without worker
processes is one number.
"""

import concurrent.futures
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rsfusion_jax.data.augment import dihedral, random_crop
from rsfusion_jax.data.source import Sample, SetInfo, Source
from rsfusion_jax.data.stored.check import (
    INTERPOLATION_TOLERANCE,
    interpolation_gap,
    sampled_indices,
)
from rsfusion_jax.errors import UserError

AUGMENTATIONS = ("none", "d4")


def train_dataset(
    source: Source,
    *,
    batch_size: int,
    patch_size: int | None,
    seed: int,
    crops_per_sample: int = 1,
    augment: str = "none",
    process_index: int = 0,
    process_count: int = 1,
    workers: int = 0,
    threads: int = 2,
    prefetch: int = 4,
):
    """Return an endless stream of training batches.

    Every epoch (`len(source) * crops_per_sample` patches) is reshuffled and contains every sample
    `crops_per_sample` times; a batch may span two epochs, so all batches are full. The batches of
    all processes, stacked in process order, equal the batch of a single-process run.

    Args:
        source: data source.
        batch_size: patches per step over all processes.
        patch_size: side of the random crops in PAN pixels, a multiple of the ratio; None uses
            whole samples, which then must all have the same size.
        seed: determines order, crops and augmentation.
        crops_per_sample: patches cut from each sample per epoch.
        augment: "none", or "d4" for the eight flips and rotations (see `augment.dihedral`).
        process_index: index of this process, 0..process_count - 1.
        process_count: number of processes.
        workers: number of worker processes; 0 reads in threads. Workers only pay off with more
            than two cores and expensive decoding. They are spawned, so the main module needs an
            `if __name__ == "__main__"` guard, and each copies a source that lives in memory.
        threads: reading threads per process; 0 reads on demand, without prefetching.
        prefetch: number of batches that each process reads ahead.

    Returns:
        A `grain.IterDataset`. Its iterator yields dicts of float32 (batch_size / process_count,
        H, W, C) arrays and has `get_state()` and `set_state(state)`.

    Raises:
        UserError: sizes that do not divide, an empty set, or augment="d4" on a set where a flip
            would move the centres of MS pixels against PAN.
    """
    import grain  # imported here, since the import takes 0.3 s and only training needs it

    _check_request(source, batch_size, patch_size, crops_per_sample, augment, process_count)
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))
    transform = _Transform(source.info, patch_size, augment)
    local = batch_size // process_count
    dataset = (
        _ordered(source, seed, crops_per_sample)
        .random_map(transform)
        # Batch before slicing, so that process p gets the p-th part of every global batch.
        # grain's default batch of one sample would be a view into the source's memory; _stack
        # copies it.
        .batch(local, drop_remainder=True, batch_fn=_stack if local == 1 else None)
        .slice(slice(process_index, None, process_count))
        .to_iter_dataset(reading)
    )
    if not workers:
        return dataset
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain's workers read absl flags even outside of app.run
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=prefetch)
    return dataset.mp_prefetch(options)


class Batches:
    """An iterator over training batches whose state fits any number of worker processes.

    Args:
        dataset: from `train_dataset`.
    """

    def __init__(self, dataset):
        self._iterator = iter(dataset)

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Sample:
        return next(self._iterator)

    @property
    def taken(self) -> int:
        """Number of batches taken since the start of the run."""
        return _batches_taken(self.get_state())

    def get_state(self) -> dict:
        """Return the position in the data, which can be written as JSON."""
        return self._iterator.get_state()

    def set_state(self, state: dict) -> None:
        """Move to a position in the data, saved by an iterator with any number of workers."""
        own = self._iterator.get_state()
        if _readers(state) != _readers(own):
            state = _state_at(own, _batches_taken(state))
        self._iterator.set_state(state)

    def close(self) -> None:
        """End the threads or processes that read ahead."""
        self._iterator.close()


_WORKERS = "iterators_in_use_states"
"""Entry of grain's state with worker processes: the states of the workers, which take turns."""


def _readers(state: dict) -> int:
    return len(state.get(_WORKERS, ()))


def _batches_taken(state: dict) -> int:
    """Return the number of batches that were taken before a state was saved."""
    return sum(int(reader["next_index"]) for reader in state.get(_WORKERS, [state]))


def _state_at(fresh: dict, taken: int) -> dict:
    """Return the state of an iterator after a number of batches.

    Args:
        fresh: state of the iterator at its start.
        taken: number of batches taken.
    """
    if _WORKERS not in fresh:
        return fresh | {"next_index": taken}
    count = len(fresh[_WORKERS])
    states = [
        {**reader, "next_index": (taken - worker + count - 1) // count}
        for worker, reader in enumerate(fresh[_WORKERS])
    ]
    return fresh | {_WORKERS: states, "next_index_in_cycle": taken % count}


def samples_of_batch(
    source: Source, number: int, *, batch_size: int, seed: int, crops_per_sample: int = 1
) -> list[int]:
    """Return the indices of the samples from which a training batch was cut.

    Args:
        source: data source of `train_dataset`.
        number: number of the batch, from 0.
        batch_size: patches per step over all processes.
        seed: seed of `train_dataset`.
        crops_per_sample: patches cut from each sample per epoch.
    """
    order = _ordered(range(len(source)), seed, crops_per_sample)
    return [int(order[i]) for i in range(number * batch_size, (number + 1) * batch_size)]


def _ordered(source, seed: int, crops_per_sample: int):
    """Return the endless order in which samples, or their indices, are used."""
    import grain

    return grain.MapDataset.source(source).seed(seed).repeat(crops_per_sample).shuffle().repeat()


def steps_per_epoch(source: Source, batch_size: int, crops_per_sample: int = 1) -> int:
    """Return the number of steps per epoch of `crops_per_sample` crops per sample, rounded up."""
    return math.ceil(len(source) * crops_per_sample / batch_size)


def eval_batches(
    source: Source, batch_size: int
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray]]:
    """Iterate once over a set in order, in batches of a fixed size.

    Consecutive samples of the same shape are batched. An incomplete batch, before a change of shape
    or at the end, is padded with copies of its last sample, which the mask marks.

    Args:
        source: data source.
        batch_size: samples per batch, padding included; a multiple of the device count.

    Yields:
        `(batch, mask, indices)`: arrays (batch_size, H, W, C) float32; (batch_size,) bool, False
        where padded; (batch_size,) int, the samples' indices.
    """
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")
    pending: list[tuple[int, Sample]] = []
    for index in range(len(source)):
        sample = source[index]
        if pending and (len(pending) == batch_size or _shapes(sample) != _shapes(pending[0][1])):
            yield _padded(pending, batch_size)
            pending = []
        pending.append((index, sample))
    if pending:
        yield _padded(pending, batch_size)


class Cached:
    """A data source that computes all samples of another source once and serves them from memory.

    For sources with expensive samples, such as synthetic scenes (about a second each). The arrays
    are read-only. A pickled copy contains all samples, so use it with threads rather than with
    worker processes.

    Args:
        source: source whose samples are cached; each is read once.
        threads: number of samples computed in parallel.
        progress: called as `progress(done, total)` after each sample, from the calling thread.
    """

    def __init__(
        self,
        source: Source,
        threads: int = 2,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.info = source.info
        self._samples: list[Sample] = []
        pool = concurrent.futures.ThreadPoolExecutor(threads)
        try:
            for sample in pool.map(source.__getitem__, range(len(source))):
                for array in sample.values():
                    array.flags.writeable = False
                self._samples.append(sample)
                if progress is not None:
                    progress(len(self._samples), len(source))
        finally:  # on an error or Ctrl-C pending samples are cancelled
            pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} samples, not index {index}")
        return dict(self._samples[index])


class _Transform:
    """Crop and augment one sample; a class, because worker processes must be able to pickle it."""

    def __init__(self, info: SetInfo, patch_size: int | None, augment: str):
        self._ratio = info.ratio
        self._patch_size = patch_size
        self._augment = augment
        self._remake_ms = not _is_symmetric(info)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if self._patch_size is not None:
            sample = random_crop(sample, rng, self._patch_size, self._ratio)
        if self._augment == "d4":
            sample = dihedral(sample, int(rng.integers(8)), self._ratio, self._remake_ms)
        return sample


def _check_request(
    source: Source,
    batch_size: int,
    patch_size: int | None,
    crops_per_sample: int,
    augment: str,
    process_count: int,
) -> None:
    name, ratio = source.info.name, source.info.ratio
    if len(source) == 0:
        raise UserError(f"{name} holds no samples; training needs at least one")
    if batch_size < 1 or batch_size % process_count:
        raise UserError(
            f"batch_size={batch_size} cannot be split over {process_count} processes; choose a "
            f"positive multiple of {process_count}"
        )
    if patch_size is not None and (patch_size < ratio or patch_size % ratio):
        raise UserError(
            f"patch_size={patch_size} is no positive multiple of the ratio {ratio} of {name}; "
            f"choose {max(round(patch_size / ratio), 1) * ratio}"
        )
    if crops_per_sample < 1:
        raise UserError(f"crops_per_sample={crops_per_sample} must be at least 1")
    if augment not in AUGMENTATIONS:
        raise UserError(f"augment={augment!r} is unknown; choose one of {', '.join(AUGMENTATIONS)}")
    sample = source[0]
    height, width, _ = sample["pan"].shape
    if patch_size is not None and patch_size > min(height, width):
        raise UserError(
            f"patch_size={patch_size} exceeds the samples of {name}, {height}x{width} PAN pixels; "
            "choose a smaller patch_size or None for whole samples"
        )
    if augment == "d4":
        if patch_size is None and height != width:
            raise UserError(
                f"augment='d4' rotates, but the samples of {name} are {height}x{width}; set "
                "patch_size for square crops or augment='none'"
            )
        _check_flips(source)


def _check_flips(source: Source) -> None:
    """Raise a UserError if flips would change the phase of MS pixels.

    They do not if the phase is symmetric, or if `ms` can be sampled anew from the flipped `lms`.
    """
    info = source.info
    if _is_symmetric(info):
        return
    if info.ms_phase != info.ratio // 2:
        raise UserError(
            f"augment='d4' flips, but {info.name} has ms_phase={info.ms_phase:g}, expected "
            f"{info.ratio // 2} or {(info.ratio - 1) / 2:g} at ratio {info.ratio}; use "
            "augment='none'"
        )
    for index in sampled_indices(len(source)):
        sample = source[index]
        gap = interpolation_gap(sample["ms"], sample["lms"], info.ratio, info.ratio // 2)
        if gap > INTERPOLATION_TOLERANCE:
            raise UserError(
                f"augment='d4' remakes 'ms' from the flipped 'lms', but in {info.name} 'lms' of "
                f"sample {index} differs from 'ms' by {gap:.3g} of full scale, expected at most "
                f"{INTERPOLATION_TOLERANCE:g}; use augment='none'"
            )


def _is_symmetric(info: SetInfo) -> bool:
    return info.ms_phase == (info.ratio - 1) / 2


def _stack(samples: Sequence[Sample]) -> Sample:
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def _shapes(sample: Sample) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in sample.items()}


def _padded(
    samples: list[tuple[int, Sample]], batch_size: int
) -> tuple[Sample, np.ndarray, np.ndarray]:
    rows = samples + [samples[-1]] * (batch_size - len(samples))
    mask = np.arange(batch_size) < len(samples)
    return _stack([sample for _, sample in rows]), mask, np.array([index for index, _ in rows])
