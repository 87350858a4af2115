"""The published sets by the figures that tell them apart, and what is known to ail them."""

import dataclasses
from collections.abc import Sequence

_RANDOM_SPLIT = (
    "its patches overlap those of train, so scores on it say nothing about unseen scenes; use a "
    "test set for that"
)
_OTHER_SCENES = (
    "the .h5 and .mat files of WV3 and QB hold other scenes, and published tables are of the .mat "
    "ones; say which were scored"
)


@dataclasses.dataclass(frozen=True)
class KnownSet:
    """One published set: how to recognise it and what to beware of (empty: nothing known)."""

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
    """The published set with these figures; `size` is that of `pan`."""
    for known in KNOWN_SETS:
        figures = (known.num_bands, known.images, known.side, known.side, known.has_gt)
        if figures == (num_bands, images, *size, has_gt):
            return known
    return None
