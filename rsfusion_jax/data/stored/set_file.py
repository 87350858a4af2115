"""Writing of data sets in PanCollection's layout, either all files of a command or none."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from rsfusion_jax.new_files import check_room


def write_set(
    path: Path,
    samples: Iterator[dict[str, np.ndarray]],
    count: int,
    attributes: Mapping[str, object],
    places: Sequence[int] | None = None,
    axes: str = "NCHW",
) -> None:
    """Write samples of one size as uncompressed arrays, image after image.

    Args:
        path: path of the new file.
        samples: dicts of (H, W, C) arrays with the same names, shapes and dtypes; consumed one at a
            time.
        count: number of samples.
        attributes: attributes of the file's root group.
        places: index in the file of each sample; by default in the order of `samples`.
        axes: axis order in the file: "NCHW" as in PanCollection, or "NHWC" as in the networks.
    """
    places = range(count) if places is None else places
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        for index, sample in zip(places, samples, strict=True):
            if not len(file):  # the first sample says how much all of them take
                check_room(path.parent, count * sum(image.nbytes for image in sample.values()))
            for key, image in sample.items():
                image = np.moveaxis(image, -1, 0) if axes == "NCHW" else image
                if key not in file:
                    file.create_dataset(key, (count, *image.shape), image.dtype)
                file[key][index] = image
