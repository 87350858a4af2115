"""Comparison of a network with classical methods on held-out windows."""

import dataclasses

from rsfusion_jax.classical.registry import guided_methods
from rsfusion_jax.data.source import Source
from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.methods import classical_method
from rsfusion_jax.evaluation.score import score

RIVALS = ("bdsd_pc", "bt_h", "gsa", "mtf_glp_fs", "mtf_glp_hpm", "awlp")
"""Classical methods that were the best or nearly the best on a real scene of docs/results.md."""

Row = dict[str, float]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Mean scores on the held-out windows.

    Attributes:
        exp: those of EXP, the upsampled MS.
        classical: those of the classical method with the lowest ERGAS; of EXP if no other could be
            applied.
        method: name of that method.
        network: those of the network; None before it is trained.
        before_tuning: those of the network before fine-tuning at full resolution; None without
            fine-tuning.
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
        """Scores of EXP and the classical method, as printed after each score of the network."""
        label = self.method.upper().replace("_", "-")
        return f"; EXP {self.exp['ERGAS']:.4f}, {label} {self.classical['ERGAS']:.4f}"


def classical_verdict(windows: Source) -> Verdict:
    """Find the best classical method on held-out windows.

    Methods that cannot be applied are skipped; if the guide has several bands, only those that take
    several are compared.
    """
    rows = {"exp": _row("exp", windows)}
    for name in RIVALS if windows.info.guide_bands == 1 else guided_methods():
        try:
            rows[name] = _row(name, windows)
        except UserError:  # It needs more pixels, or the MTF gain of PAN.
            continue
    best = min((name for name in rows), key=lambda name: rows[name]["ERGAS"])
    return Verdict(rows["exp"], rows[best], best)


def with_network(verdict: Verdict, fuser, windows: Source) -> Verdict:
    """Add the scores of a network, moving those already there to `before_tuning`."""
    row = score(fuser.fuse_unit, windows).mean()
    return dataclasses.replace(verdict, network=row, before_tuning=verdict.network)


def _row(name: str, windows: Source) -> Row:
    return score(classical_method(name, windows.info).fuse, windows).mean()
