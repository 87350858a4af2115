"""A folder of stored scenes, which may differ in size, as one set."""

import bisect
import dataclasses
import itertools
import operator
import re
from pathlib import Path

from rsfusion_jax.data.source import Sample
from rsfusion_jax.data.stored.pancollection import PanCollection, open_set
from rsfusion_jax.errors import UserError

_SUFFIXES = (".h5", ".hdf5", ".mat")


class SceneFolder:
    """The images of several stored sets of one kind, one set after the other.

    Create it with `open_scenes`.

    Args:
        name: name of the folder.
        sets: the sets, which agree in all but the size and number of their images.
    """

    def __init__(self, name: str, sets: list[PanCollection]):
        self.info = dataclasses.replace(sets[0].info, name=name)
        self._sets = sets
        self._ends = list(itertools.accumulate(len(part) for part in sets))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index`; see `PanCollection.__getitem__`."""
        index = operator.index(index)
        if not 0 <= index < len(self):
            raise IndexError(f"{self.info.name} holds {len(self)} images, not index {index}")
        number = bisect.bisect_right(self._ends, index)
        return self._sets[number][index - self._ends[number] + len(self._sets[number])]


def is_scene_folder(path: str | Path) -> bool:
    """Tell whether a folder holds stored scenes, `.h5` or `.mat` files."""
    return bool(_scene_files(Path(path)))


def open_scenes(path: str | Path, **options) -> SceneFolder:
    """Open all `.h5` and `.mat` files of a folder as one set, in the order of their names.

    Args:
        path: the folder. Numbers in names are compared as numbers: `scene_2` before `scene_10`.
        **options: of `open_set`, for every file.

    Raises:
        UserError: a file cannot be opened, or is of another kind than the first one.
    """
    path = Path(path)
    files = _scene_files(path)
    if not files:
        raise UserError(f"{path} holds no .h5 or .mat files; give a folder of scenes")
    sets = [open_set(file, **options) for file in files]
    first = sets[0].info
    for file, part in zip(files, sets, strict=True):
        for field, expected in vars(first).items():
            value = getattr(part.info, field)
            if field not in ("name", "pan_degradation") and value != expected:
                raise UserError(
                    f"{file} has {field}={value} where {first.name} has {expected}; score "
                    "scenes of different kinds one kind at a time"
                )
    return SceneFolder(path.absolute().name, sets)


def _scene_files(path: Path) -> list[Path]:
    files = [file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES]
    return sorted(files, key=_natural)


def _natural(path: Path) -> list:
    """Split a name into text and numbers, for sorting."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if part.isdecimal() else part for part in parts]
