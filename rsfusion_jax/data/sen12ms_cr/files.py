"""Where SEN12MS-CR keeps its patches, which of them belong together, and how they are split.

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

# Scenes of the published split, as the data set's first author lists them; all other scenes
# are for training. Names are compared whole: a loader that looks for `s1_1` inside a path also
# finds s1_106, and trains on test scenes.
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
"""Of the scenes for `valid`, and for `test`, where they are drawn."""

_SEASON = re.compile(r"(ROIs\d+_[a-z]+)_(s1|s2|s2_cloudy)")


class Patch(NamedTuple):
    """One place; three files, if all are there."""

    season: str
    scene: int
    number: int

    def path(self, root: Path, kind: str) -> Path:
        """The file of one kind."""
        name = f"{self.season}_{kind}_{self.scene}_p{self.number}.tif"
        return root / f"{self.season}_{kind}" / f"{kind}_{self.scene}" / name

    def __str__(self):
        return f"{self.season}_{self.scene}_p{self.number}"


class Listing(NamedTuple):
    """What a folder holds.

    Attributes:
        complete: patches with a file of every kind that was asked for, in order.
        missing: per kind, patches that lack that file but have another one.
    """

    complete: list[Patch]
    missing: dict[str, list[Patch]]

    def complaint(self) -> str:
        """How many patches lack what, with an example of each; empty where none does."""
        parts = [
            f"{len(patches)} without {kind}, as {patches[0]}"
            for kind, patches in self.missing.items()
            if patches
        ]
        return "; ".join(parts)


def list_patches(root: Path, kinds: Sequence[str] = KINDS) -> Listing:
    """Finds the patches below a folder by their names; no file is opened.

    Raises:
        UserError: no such folder, or nothing in it that is named as SEN12MS-CR names it.
    """
    if not root.is_dir():
        raise UserError(
            f"{root} is no folder; give the one that holds ROIs1158_spring_s1 and so on"
        )
    found: dict[str, set[Patch]] = {kind: set() for kind in kinds}
    for season in sorted(os.scandir(root), key=lambda entry: entry.name):
        named = _SEASON.fullmatch(season.name)
        if named and season.is_dir() and named[2] in found:
            found[named[2]].update(_patches_of(Path(season.path), *named.groups()))
    everything = sorted(set().union(*found.values()))
    if not everything:
        raise UserError(
            f"{root} holds no patch of SEN12MS-CR, expected files like "
            f"{Patch('ROIs1158_spring', 1, 30).path(Path(), kinds[0])} in it; give the folder that "
            "holds the folders of all seasons"
        )
    missing = {kind: [p for p in everything if p not in patches] for kind, patches in found.items()}
    complete = [p for p in everything if all(p in patches for patches in found.values())]
    return Listing(complete, missing)


def _patches_of(folder: Path, season: str, kind: str) -> Iterable[Patch]:
    pattern = re.compile(rf"{season}_{kind}_(\d+)_p(\d+)\.tif")
    for scene in os.scandir(folder):
        if not (scene.is_dir() and re.fullmatch(rf"{kind}_\d+", scene.name)):
            continue
        for name in os.listdir(scene.path):
            named = pattern.fullmatch(name)
            if named and scene.name == f"{kind}_{named[1]}":
                yield Patch(season, int(named[1]), int(named[2]))


def scene_splits(patches: Iterable[Patch], rule: str, seed: int) -> dict[tuple[str, int], str]:
    """To which split every scene of some patches belongs.

    Args:
        patches: whose scenes.
        rule: "official", or "scenes": a tenth of the scenes present (at least one) for `test`,
            as many for `valid`, drawn with the seed.
        seed: of the draw.

    Returns:
        By (season, scene) "train", "valid" or "test".
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
