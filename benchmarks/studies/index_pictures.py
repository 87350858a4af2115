"""Plots of what `indices` measured."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

_GROUPS = {"all": "tab:gray", "without controls": "tab:blue", "best twelve": "tab:orange"}


def draw(summaries: list[dict], folder: Path) -> None:
    """Draw the plots of docs/indices.md."""
    found = {(row["scenes"], row["methods"]): row for row in summaries}
    _intervals(found, folder / "indices_tau.png")
    _by_scenes(found, folder / "indices_cameras.png")


def _intervals(found: dict, path: Path) -> None:
    """Draw mean tau with its interval, a panel for each group of scenes."""
    panels = [
        name
        for name in ("unseen satellites", "held-out cameras", "real images")
        if (name, "all") in found
    ]
    order = found[panels[0], "without controls"]["tau"]
    names = sorted(order, key=lambda name: order[name]["mean"][0])
    size = 3.6 * len(panels) + 1.5, 0.27 * len(names) + 1
    figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, squeeze=False)
    for axis, scenes in zip(axes[0], panels, strict=True):
        for shift, (methods, colour) in zip((-0.22, 0, 0.22), _GROUPS.items(), strict=True):
            tau = found[scenes, methods]["tau"]
            values = np.array([tau[name]["mean"] for name in names])
            bars = np.abs(values[:, 1:] - values[:, :1]).T
            places = np.arange(len(names)) + shift
            axis.errorbar(values[:, 0], places, xerr=bars, fmt=".", color=colour, label=methods)
        axis.axvline(0, color="black", linewidth=0.6)
        axis.set_title(f"{scenes}, {found[scenes, 'all']['count']} scenes", fontsize=9)
        axis.set_xlabel("Kendall's tau with the true order", fontsize=8)
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].set_yticks(np.arange(len(names)), names, fontsize=8)
    axes[0][-1].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _by_scenes(found: dict, path: Path) -> None:
    """Draw tau of every index for every condition and camera as coloured cells."""
    wanted = (
        "ideal",
        "recorded",
        "shifted",
        *("wv2", "wv3", "wv4", "ge1", "qb", "ikonos", "held-out cameras"),
        *("real wv2", "real ikonos", "real ge1"),
    )
    columns = [name for name in wanted if (name, "without controls") in found]
    order = found[columns[0], "without controls"]["tau"]
    names = list(order)
    table = np.array(
        [
            [found[scenes, "without controls"]["tau"][name]["mean"][0] for scenes in columns]
            for name in names
        ]
    )
    figure, axis = plt.subplots(figsize=(0.55 * len(columns) + 2.2, 0.27 * len(names) + 1.5))
    axis.imshow(table, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        colour = "white" if abs(value) > 0.65 else "black"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=6, color=colour)
    axis.set_xticks(np.arange(len(columns)), columns, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(np.arange(len(names)), names, fontsize=8)
    axis.set_title("tau, methods without controls", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)
