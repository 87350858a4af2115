"""Published data sets: how to recognise them by their sizes, and their known problems."""

import dataclasses
from collections.abc import Sequence

_RANDOM_SPLIT = (
    "its patches overlap those of train, so scores on it do not hold for unseen scenes; use a test "
    "set for that"
)
_OTHER_SCENES = (
    "the .h5 and .mat files of WV3 and QB contain different scenes, and published tables use the "
    ".mat files; state which were evaluated"
)


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """A published data set.

    Attributes:
        name: name of the set.
        sensors: names of the sensors that it may be of.
        num_bands: number of MS bands.
        images: number of images.
        side: side of PAN in pixels.
        has_gt: whether it contains ground truth.
        caution: known problem of which users are warned; empty if there is none.
    """

    name: str
    sensors: tuple[str, ...]
    num_bands: int
    images: int
    side: int
    has_gt: bool
    caution: str = ""


_TRAINING = {"wv3": (8, 9714, 1080), "qb": (4, 17139, 1905), "gf2": (4, 19809, 2201)}
_TEST_SENSORS = {8: ("wv3", "wv2"), 4: ("qb", "gf2")}

KNOWN_SETS = (
    *(
        KnownSet(f"PanCollection {split}", (sensor,), bands, images, 64, True, caution)
        for sensor, (bands, *counts) in _TRAINING.items()
        for split, images, caution in zip(
            ("train", "valid"), counts, ("", _RANDOM_SPLIT), strict=True
        )
    ),
    *(
        KnownSet(f"PanCollection test, {name}", sensors, bands, 20, side, has_gt, caution)
        for bands, sensors in _TEST_SENSORS.items()
        for name, side, has_gt, caution in (
            ("reduced resolution", 256, True, ""),
            ("full resolution", 512, False, _OTHER_SCENES),
        )
    ),
    KnownSet("CAVE test", ("cave",), 31, 11, 512, True),
    KnownSet("Harvard test", ("harvard",), 31, 10, 1000, True),
)


def recognise(num_bands: int, images: int, size: Sequence[int], has_gt: bool) -> KnownSet | None:
    """Return the published set that matches, or None.

    Args:
        num_bands: number of MS bands.
        images: number of images.
        size: height and width of `pan` in pixels.
        has_gt: whether the set contains ground truth.
    """
    for known in KNOWN_SETS:
        figures = (known.num_bands, known.images, known.side, known.side, known.has_gt)
        if figures == (num_bands, images, *size, has_gt):
            return known
    return None
