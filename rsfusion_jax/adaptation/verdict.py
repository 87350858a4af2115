"""Whether a network is better than formulas on windows that it was not trained on."""

import dataclasses

from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score

RIVALS = ("bdsd_pc", "bt_h", "gsa", "mtf_glp_fs", "mtf_glp_hpm", "awlp")
"""Classical methods that came first on one of the real scenes of docs/results.md or close to it."""

Row = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Mean scores on the held-out windows.

    Attributes:
        exp: of the enlarged MS.
        classical: of the best classical method by ERGAS; that of EXP where none could be fitted.
        method: its name.
        network: of the network; None before it is trained.
        before_tuning: of the network before it was tuned at full resolution; None where it was not.
    """

    exp: Row
    classical: Row
    method: str
    network: Row | None = None
    before_tuning: Row | None = None

    @property
    def network_wins(self) -> bool:
        """Whether the network has the lower ERGAS."""
        return self.network is not None and self.network["ERGAS"] < self.classical["ERGAS"]

    @property
    def beside(self) -> str:
        """What stands behind the network's score."""
        label = self.method.upper().replace("_", "-")
        return f"; EXP {self.exp['ERGAS']:.4f}, {label} {self.classical['ERGAS']:.4f}"


def classical_verdict(windows: Source) -> Verdict:
    """What the network has to beat on held-out windows.

    Methods that cannot be fitted are passed over; all but EXP where the guide has several bands.
    """
    rows = {"exp": _row("exp", windows)}
    for name in RIVALS if windows.info.guide_bands == 1 else ():
        try:
            rows[name] = _row(name, windows)
        except UserError:  # too few pixels for it, or no PAN gain
            continue
    best = min((name for name in rows), key=lambda name: rows[name]["ERGAS"])
    return Verdict(rows["exp"], rows[best], best)


def with_network(verdict: Verdict, fuser, windows: Source) -> Verdict:
    """The verdict after training, or, where there is one already, after tuning."""
    row = score(fuser.fuse_unit, windows).mean()
    return dataclasses.replace(verdict, network=row, before_tuning=verdict.network)


def _row(name: str, windows: Source) -> Row:
    return score(classical_method(name, windows.info).fuse, windows).mean()
