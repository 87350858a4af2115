"""Families of stored sets: what they call their arrays, and the habits of those who wrote them."""

import dataclasses
from collections.abc import Container, Mapping


@dataclasses.dataclass(frozen=True)
class Family:
    """Files of one origin.

    Attributes:
        name: what messages call it.
        pan, ms, lms, gt: names under which its files hold each key, the usual one first.
        centred: whether MS pixels lie at (r - 1) / 2 (made and enlarged about pixel areas, by
            bicubic) rather than at r // 2 (every r-th pixel kept, enlarged by interp23).
        any_ratio: whether one camera comes at several ratios, so that the sizes say which.
    """

    name: str
    pan: tuple[str, ...]
    ms: tuple[str, ...]
    lms: tuple[str, ...]
    gt: tuple[str, ...]
    centred: bool = False
    any_ratio: bool = False

    def names(self, key: str) -> tuple[str, ...]:
        """Names of "pan", "ms", "lms" or "gt"."""
        return getattr(self, key)

    def ms_phase(self, ratio: int) -> float:
        """PAN index of the centre of MS pixel 0."""
        return (ratio - 1) / 2 if self.centred else float(ratio // 2)


KEYS = ("pan", "ms", "lms", "gt")

FAMILIES = (
    # Deng et al., IEEE GRSM 2022; the names of the MATLAB toolbox behind its own.
    Family(
        "PanCollection",
        pan=("pan", "I_PAN"),
        ms=("ms", "lrms", "I_MS_LR", "I_MS"),
        lms=("lms",),
        gt=("gt", "I_GT"),
    ),
    # Zhuo et al., JSTARS 2022: Washington DC Mall, Pavia Center, Botswana.
    Family("HyperPanCollection", pan=("PAN",), ms=("MS",), lms=("LMS",), gt=("GT",)),
    # CAVE and Harvard as hyperspectral super-resolution trains on them: RGB guides 31 bands.
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
"""Every name under which some family holds each key."""


def find_names(present: Container[str]) -> tuple[Family, dict[str, str]]:
    """The family of a file and the names of its arrays by key; absent keys are left out.

    The first family whose `pan` and `ms` are both present; where none is complete, the first one
    and whatever names of any family there are.
    """
    for family in FAMILIES:
        found = {
            key: next((name for name in (*family.names(key), *NAMES[key]) if name in present), None)
            for key in KEYS
        }
        if found["pan"] in family.pan and found["ms"] in family.ms:
            break
    else:
        family = FAMILIES[0]
    return family, {key: name for key, name in found.items() if name}
