"""Scores of an adapted network at full resolution, on held-out windows, without ground truth."""

import dataclasses

import numpy as np

from rsfusion_jax.adaptation.verdict import Row
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.ops.resample import decimate
from rsfusion_jax.scenes.degraded.windows import Window, Windows
from rsfusion_jax.training.consistency import enlarged

SHOWN = "R-ERGAS", "R-SAM", "D_rho"


@dataclasses.dataclass(frozen=True)
class FullResolution:
    """Mean values of no-reference metrics on the held-out windows.

    Attributes:
        exp: those of EXP, the upsampled MS.
        network: those of the network.
        before: those of the network before fine-tuning; None without fine-tuning.
    """

    exp: Row
    network: Row
    before: Row | None = None

    @property
    def sentence(self) -> str:
        """One line of text with these values."""
        rows = {"before tuning": self.before, "exp": self.exp}
        parts = [
            f"{name} {self.network[name]:.3f} ("
            + ", ".join(f"{label} {row[name]:.3f}" for label, row in rows.items() if row)
            + ")"
            for name in SHOWN
        ]
        return "the same at full resolution: " + ", ".join(parts)


def full_resolution_windows(windows: list[Window], info: SetInfo) -> Windows:
    """Make the full-resolution data set of windows, from PAN and MS before degradation.

    Args:
        windows: windows whose samples have `pan_full`. Their `gt` is the MS at full resolution.
        info: description of the windows at reduced resolution.
    """
    originals = []
    for window in windows:
        ms = window.sample["gt"]
        lms = np.asarray(enlarged(ms, info.ratio), np.float32)
        sample = {"pan": window.sample["pan_full"], "ms": ms, "lms": lms}
        originals.append(dataclasses.replace(window, sample=sample))
    centre = (info.ratio - 1) / 2
    info = dataclasses.replace(info, ms_phase=centre, has_gt=False, pan_degradation=None)
    return Windows(originals, info)


def full_resolution_row(windows: Windows, fuse_unit=None) -> Row:
    """Compute the mean no-reference metrics of a method on windows.

    Args:
        windows: from `full_resolution_windows`.
        fuse_unit: `fuse_unit` of the Fuser to score; None scores EXP, the upsampled MS.
    """

    def fuse(pan, ms, lms):
        return lms if fuse_unit is None else fuse_unit(pan, decimate(lms, windows.info.ratio), lms)

    return score(fuse, windows).mean()
