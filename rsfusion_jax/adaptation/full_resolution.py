"""What adaptation does to the full resolution of held-out windows, where there is no truth."""

import dataclasses

import numpy as np

from rsfusion_jax.adaptation.verdict import Row
from rsfusion_jax.adaptation.windows import Window, Windows
from rsfusion_jax.data.source import SetInfo
from rsfusion_jax.evaluation.score import score
from rsfusion_jax.training.consistency import full_resolution_inputs

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
        pair = window.sample["pan_full"], window.sample["gt"]
        images = full_resolution_inputs(*pair, info.ratio)
        sample = {
            key: np.ascontiguousarray(image, np.float32)
            for key, image in zip(("pan", "ms", "lms"), images, strict=True)
        }
        made.append(dataclasses.replace(window, sample=sample))
    return Windows(made, dataclasses.replace(info, has_gt=False, pan_degradation=None))


def full_resolution_row(fuse, windows: Windows) -> Row:
    """Mean indices of a method, `(pan, ms, lms) -> fused`."""
    return score(fuse, windows).mean()


def exp_row(windows: Windows) -> Row:
    """Those of the enlarged MS."""
    return full_resolution_row(lambda pan, ms, lms: lms, windows)
