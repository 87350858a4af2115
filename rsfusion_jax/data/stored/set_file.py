"""Writing of data sets in PanCollection's layout, either all files of a command or none."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from rsfusion_jax.errors import UserError


@contextlib.contextmanager
def new_files(paths: Sequence[Path], overwrite: bool = False) -> Iterator[dict[Path, Path]]:
    """Yield temporary paths of files that are renamed when the block ends without an error.

    Args:
        paths: final paths of the files.
        overwrite: whether existing files are replaced.

    Yields:
        Temporary paths by final path.

    Raises:
        UserError: a file exists already, its folder does not exist, or it cannot be written.
    """
    for path in paths:
        if path.exists() and not (overwrite and path.is_file()):
            raise UserError(f"{path} exists already; choose another name or delete it")
        if not path.parent.is_dir():
            raise UserError(f"{path}: its folder does not exist; create it first")
    unfinished = {path: path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths}
    try:
        yield unfinished
        for path, temporary in unfinished.items():
            temporary.replace(path)
    except OSError as error:
        raise UserError(
            f"{paths[0]} cannot be written ({' '.join(str(error).split())}); expected a "
            "writable folder with enough space"
        ) from error
    finally:
        for temporary in unfinished.values():
            temporary.unlink(missing_ok=True)


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
            for key, image in sample.items():
                image = np.moveaxis(image, -1, 0) if axes == "NCHW" else image
                if key not in file:
                    file.create_dataset(key, (count, *image.shape), image.dtype)
                file[key][index] = image
