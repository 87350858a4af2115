"""From samples by index to batches: an endless shuffled stream for training, one pass to score.

Training data is a `grain.MapDataset`, where batch k of a seed is a pure function of k: the
iterator's state is one number, and neither threads nor worker processes change what comes out.
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
    """Endless stream of training batches.

    Every epoch (`len(source) * crops_per_sample` patches) is shuffled anew and holds every
    sample `crops_per_sample` times; batches run across the border of epochs, so none is short.
    The processes' batches, stacked in process order, are the batch of a single-process run.

    Args:
        source: samples by index.
        batch_size: patches per step over all processes.
        patch_size: side of the random crops in PAN pixels, a multiple of the ratio; None takes
            whole samples, which then must be of one size.
        seed: determines order, crops and augmentation.
        crops_per_sample: patches cut from each sample per epoch.
        augment: "none", or "d4" for the eight flips and rotations (see `augment.dihedral`).
        process_index: which process this is.
        process_count: of how many.
        workers: worker processes; 0 reads in threads. Workers need more cores than two and heavy
            decoding to pay off, are spawned (guard `__main__`), and copy the source if it lives in
            memory. An iterator state taken with workers needs the same number again.
        threads: reading threads per process; 0 reads when asked, without prefetching.
        prefetch: batches that each process reads ahead.

    Returns:
        A `grain.IterDataset`. Its iterator yields dicts of float32 (batch_size / process_count,
        H, W, C) arrays and has `get_state()` and `set_state(state)`.

    Raises:
        UserError: sizes that do not divide, an empty set, or flips asked of a set whose phase
            they would break.
    """
    import grain  # here, since it takes 0.3 s that only training needs

    _check_request(source, batch_size, patch_size, crops_per_sample, augment, process_count)
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(prefetch, threads))
    transform = _Transform(source.info, patch_size, augment)
    local = batch_size // process_count
    dataset = (
        grain.MapDataset.source(source)
        .seed(seed)
        .repeat(crops_per_sample)
        .shuffle()
        .repeat()
        .random_map(transform)
        # Batched before the split: process p takes the p-th part of every global batch.
        # grain's own batch of one would be a view of the sample, that is of a source's memory.
        .batch(local, drop_remainder=True, batch_fn=_stack if local == 1 else None)
        .slice(slice(process_index, None, process_count))
        .to_iter_dataset(reading)
    )
    if not workers:
        return dataset
    from absl import flags

    if not flags.FLAGS.is_parsed():  # grain's workers read absl flags, also outside of app.run
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=prefetch)
    return dataset.mp_prefetch(options)


def steps_per_epoch(source: Source, batch_size: int, crops_per_sample: int = 1) -> int:
    """Steps after which every sample has been seen `crops_per_sample` times (rounded up)."""
    return math.ceil(len(source) * crops_per_sample / batch_size)


def eval_batches(
    source: Source, batch_size: int
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray]]:
    """One pass over a set in order, in batches of one size, every sample valid exactly once.

    Samples are batched while their shapes agree; a batch that a new shape or the end cuts short is
    filled with copies of its last sample.

    Args:
        source: samples by index.
        batch_size: samples per batch, padding included; a multiple of the device count.

    Yields:
        `(batch, mask, indices)`: arrays (batch_size, H, W, C) float32; (batch_size,) bool, False
        where padded; (batch_size,) int, the samples' indices.
    """
    if batch_size < 1:
        raise UserError(f"batch_size={batch_size} must be at least 1")
    held: list[tuple[int, Sample]] = []
    for index in range(len(source)):
        sample = source[index]
        if held and (len(held) == batch_size or _shapes(sample) != _shapes(held[0][1])):
            yield _padded(held, batch_size)
            held = []
        held.append((index, sample))
    if held:
        yield _padded(held, batch_size)


class Cached:
    """A source whose samples were all made beforehand and are served from memory.

    For sources that render (about a second per synthetic scene). Samples are read-only. A pickled
    copy carries them all, so use threads rather than worker processes with it.

    Args:
        source: where the samples come from, each asked for once.
        threads: samples made at the same time.
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
        finally:  # on an error or Ctrl-C samples still waiting are not made
            pool.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} samples, not index {index}")
        return dict(self._samples[index])


class _Transform:
    """Crop and augmentation of one sample (a class, since workers must pickle it)."""

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
    """Flips need a symmetric phase, or an `lms` from which a decimated `ms` can be remade."""
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
                f"sample {index} misses 'ms' by {gap:.3g} of full scale, expected at most "
                f"{INTERPOLATION_TOLERANCE:g}; use augment='none'"
            )


def _is_symmetric(info: SetInfo) -> bool:
    return info.ms_phase == (info.ratio - 1) / 2


def _stack(samples: Sequence[Sample]) -> Sample:
    return {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}


def _shapes(sample: Sample) -> dict[str, tuple[int, ...]]:
    return {key: array.shape for key, array in sample.items()}


def _padded(
    held: list[tuple[int, Sample]], batch_size: int
) -> tuple[Sample, np.ndarray, np.ndarray]:
    rows = held + [held[-1]] * (batch_size - len(held))
    mask = np.arange(batch_size) < len(held)
    return _stack([sample for _, sample in rows]), mask, np.array([index for index, _ in rows])
