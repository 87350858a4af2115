"""File layout of SEN12MS-CR: the three files of a patch, and the split of scenes into sets.

ROIs1158_spring_s1/s1_1/ROIs1158_spring_s1_1_p30.tif
ROIs1158_spring_s2/s2_1/ROIs1158_spring_s2_1_p30.tif
ROIs1158_spring_s2_cloudy/s2_cloudy_1/ROIs1158_spring_s2_cloudy_1_p30.tif
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsfusion_jax.errors import UserError

KINDS = ("s1", "s2", "s2_cloudy")
SPLITS = ("train", "valid", "test")
SPLIT_RULES = ("official", "scenes")

# Scenes of the published split, as listed by the data set's first author; all other scenes are for
# training. Whole names must be compared: a loader that searches a path for `s1_1` also matches
# s1_106, and so trains on test scenes.
_OFFICIAL = {
    "valid": {
        "ROIs1158_spring": (17,),
        "ROIs1868_summer": (17, 19, 80, 127),
        "ROIs1970_fall": (65,),
        "ROIs2017_winter": (22, 84, 107, 130),
    },
    "test": {
        "ROIs1158_spring": (31, 44, 106, 123, 140),
        "ROIs1868_summer": (73, 119),
        "ROIs1970_fall": (139,),
        "ROIs2017_winter": (63, 108),
    },
}
_SHARE = 0.1
"""Share of the scenes for `valid`, and for `test`, in a random split."""

_SEASON = re.compile(r"(ROIs\d+_[a-z]+)_(s1|s2|s2_cloudy)")


class Patch(NamedTuple):
    """One patch on the ground, stored as up to three files, one of each kind."""

    season: str
    scene: int
    number: int

    def path(self, root: Path, kind: str) -> Path:
        """Return the path of the patch's file of one kind, below the folder `root`."""
        name = f"{self.season}_{kind}_{self.scene}_p{self.number}.tif"
        return root / f"{self.season}_{kind}" / f"{kind}_{self.scene}" / name

    def __str__(self):
        return f"{self.season}_{self.scene}_p{self.number}"


class Listing(NamedTuple):
    """Patches in a folder.

    Attributes:
        complete: sorted patches that have a file of every requested kind.
        missing: patches without a file of a kind but with one of another, by kind.
    """

    complete: list[Patch]
    missing: dict[str, list[Patch]]

    def complaint(self) -> str:
        """Describe how many patches lack which kind, with an example each; empty if none does."""
        parts = [
            f"{len(patches)} without {kind}, as {patches[0]}"
            for kind, patches in self.missing.items()
            if patches
        ]
        return "; ".join(parts)


def list_patches(root: Path, kinds: Sequence[str] = KINDS) -> Listing:
    """List the patches below a folder by their file names; no file is opened.

    Args:
        root: folder that contains `ROIs1158_spring_s1` and so on.
        kinds: kinds of files that a complete patch must have.

    Raises:
        UserError: no such folder, or no file in it that is named like those of SEN12MS-CR.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder; give the one that holds ROIs1158_spring_s1 and so on"
        )
    by_kind: dict[str, set[Patch]] = {kind: set() for kind in kinds}
    for season in sorted(os.scandir(root), key=lambda entry: entry.name):
        match = _SEASON.fullmatch(season.name)
        if match and season.is_dir() and match[2] in by_kind:
            by_kind[match[2]].update(_patches_of(Path(season.path), *match.groups()))
    all_patches = sorted(set().union(*by_kind.values()))
    if not all_patches:
        raise UserError(
            f"{root} holds no patch of SEN12MS-CR, expected files like "
            f"{Patch('ROIs1158_spring', 1, 30).path(Path(), kinds[0])} in it; give the folder that "
            "holds the folders of all seasons"
        )
    missing = {
        kind: [p for p in all_patches if p not in patches] for kind, patches in by_kind.items()
    }
    complete = [p for p in all_patches if all(p in patches for patches in by_kind.values())]
    return Listing(complete, missing)


def _patches_of(folder: Path, season: str, kind: str) -> Iterable[Patch]:
    pattern = re.compile(rf"{season}_{kind}_(\d+)_p(\d+)\.tif")
    for scene in os.scandir(folder):
        if not (scene.is_dir() and re.fullmatch(rf"{kind}_\d+", scene.name)):
            continue
        for name in os.listdir(scene.path):
            match = pattern.fullmatch(name)
            if match and scene.name == f"{kind}_{match[1]}":
                yield Patch(season, int(match[1]), int(match[2]))


def scene_splits(patches: Iterable[Patch], rule: str, seed: int) -> dict[tuple[str, int], str]:
    """Assign the scenes of some patches to the splits.

    Args:
        patches: patches whose scenes are split.
        rule: "official" for the published split; "scenes" for a random split, in which a tenth of
            the scenes (at least one) is for `test` and as many are for `valid`.
        seed: seed of the random split.

    Returns:
        "train", "valid" or "test" by (season, scene).
    """
    scenes = sorted({patch[:2] for patch in patches})
    splits = dict.fromkeys(scenes, "train")
    if rule == "official":
        for split, seasons in _OFFICIAL.items():
            listed = {(season, scene) for season, some in seasons.items() for scene in some}
            splits.update(dict.fromkeys(listed & splits.keys(), split))
        return splits
    order = np.random.default_rng(seed).permutation(len(scenes))
    count = max(1, round(_SHARE * len(scenes)))
    for rank, index in enumerate(order[: 2 * count]):
        splits[scenes[index]] = "test" if rank < count else "valid"
    return splits
