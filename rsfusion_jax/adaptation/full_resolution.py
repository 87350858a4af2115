"""What adaptation does to the full resolution of held-out windows, where there is no truth."""

import dataclasses

import numpy as np

from rsfusion_jax.adaptation.verdict import Row
from rsfusion_jax.adaptation.windows import Window, Windows
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.ops.resample import decimate
from rsfusion_jax.training.consistency import enlarged

SHOWN = "R-ERGAS", "R-SAM", "D_rho"


@dataclasses.dataclass(frozen=True)
class FullResolution:
    """Mean indices without ground truth on the held-out windows.

    Attributes:
        exp: of the enlarged MS.
        network: of the network.
        before: of the network before it was tuned; None where it was not.
    """

    exp: Row
    network: Row
    before: Row | None = None

    @property
    def sentence(self) -> str:
        """The indices in words."""
        rows = {"before tuning": self.before, "exp": self.exp}
        found = [
            f"{name} {self.network[name]:.3f} ("
            + ", ".join(f"{label} {row[name]:.3f}" for label, row in rows.items() if row)
            + ")"
            for name in SHOWN
        ]
        return "the same at full resolution: " + ", ".join(found)


def full_resolution_windows(windows: list[Window], info: SetInfo) -> Windows:
    """Held-out windows as they are: PAN, and the MS that is the truth at reduced resolution.

    Args:
        windows: with `pan_full`.
        info: of their reduced resolution.
    """
    made = []
    for window in windows:
        ms = window.sample["gt"]
        lms = np.asarray(enlarged(ms, info.ratio), np.float32)
        sample = {"pan": window.sample["pan_full"], "ms": ms, "lms": lms}
        made.append(dataclasses.replace(window, sample=sample))
    centre = (info.ratio - 1) / 2
    info = dataclasses.replace(info, ms_phase=centre, has_gt=False, pan_degradation=None)
    return Windows(made, info)


def full_resolution_row(windows: Windows, fuse_unit=None) -> Row:
    """Mean indices of a Fuser's `fuse_unit`; of EXP where there is none."""

    def fuse(pan, ms, lms):
        return lms if fuse_unit is None else fuse_unit(pan, decimate(lms, windows.info.ratio), lms)

    return score(fuse, windows).mean()
