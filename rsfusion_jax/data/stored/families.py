"""Families of published data sets: the names of their arrays and their conventions."""

import dataclasses
from collections.abc import Container, Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """Data sets with the same array names and conventions.

    Attributes:
        name: name in messages.
        pan, ms, lms, gt: array names for each key in the family's files, the usual one first.
        centred: whether MS pixels are centred at (r - 1) / 2 (degraded by area, upsampled
            bicubically) instead of r // 2 (decimated, upsampled by interp23).
        any_ratio: whether sets of one camera exist at several ratios, so that the ratio follows
            from the arrays' sizes.
    """

    name: str
    pan: tuple[str, ...]
    ms: tuple[str, ...]
    lms: tuple[str, ...]
    gt: tuple[str, ...]
    centred: bool = False
    any_ratio: bool = False

    def names(self, key: str) -> tuple[str, ...]:
        """Return the array names for the key "pan", "ms", "lms" or "gt"."""
        return getattr(self, key)

    def ms_phase(self, ratio: int) -> float:
        """Return the position of the centre of MS pixel 0 as a PAN index."""
        return (ratio - 1) / 2 if self.centred else float(ratio // 2)


KEYS = ("pan", "ms", "lms", "gt")

FAMILIES = (
    # Deng et al., IEEE GRSM 2022; its own names first, then those of the MATLAB toolbox.
    Family(
        "PanCollection",
        pan=("pan", "I_PAN"),
        ms=("ms", "lrms", "I_MS_LR", "I_MS"),
        lms=("lms",),
        gt=("gt", "I_GT"),
    ),
    # Zhuo et al., JSTARS 2022: Washington DC Mall, Pavia Center, Botswana.
    Family("HyperPanCollection", pan=("PAN",), ms=("MS",), lms=("LMS",), gt=("GT",)),
    # CAVE and Harvard in the form for hyperspectral super-resolution: an RGB guide for 31 bands.
    Family(
        "HISR",
        pan=("RGB",),
        ms=("LRHSI",),
        lms=("HSI_up",),
        gt=("GT",),
        centred=True,
        any_ratio=True,
    ),
)

NAMES: Mapping[str, tuple[str, ...]] = {
    key: tuple(dict.fromkeys(name for family in FAMILIES for name in family.names(key)))
    for key in KEYS
}
"""The array names of all families for each key."""


def find_names(present: Container[str]) -> tuple[Family, dict[str, str]]:
    """Return the family of a file and the names of its arrays by key.

    The family is the first one whose `pan` and `ms` are both present. If there is none, it is the
    first of `FAMILIES`, and array names of any family are accepted.

    Args:
        present: names of the arrays in the file.

    Returns:
        The family, and the array names by key, without absent keys.
    """
    for family in FAMILIES:
        names = {
            key: next((name for name in (*family.names(key), *NAMES[key]) if name in present), None)
            for key in KEYS
        }
        if names["pan"] in family.pan and names["ms"] in family.ms:
            break
    else:
        family = FAMILIES[0]
    return family, {key: name for key, name in names.items() if name}
