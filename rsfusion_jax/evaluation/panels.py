"""Figures with guide, inputs, fused image, ground truth and error maps side by side."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

_INCHES = 2.2
_STRETCH = (1, 99)  # percentiles of the ground truth that are drawn as black and white


def panel(samples: list[dict], fused: list[np.ndarray], rgb: tuple[int, int, int]) -> Figure:
    """Draw one row per image: PAN | MS | EXP | fused | truth | error of EXP | error of fused.

    All colour images of a row have the contrast stretch of the ground truth, and both error maps
    one scale, so that they can be compared. Without ground truth a row ends at the fused image, and
    the stretch is that of EXP.

    Args:
        samples: dicts of `pan`, `ms`, `lms` and optionally `gt`, (H, W, .), all in one unit.
        fused: fused image of each sample, (H, W, C).
        rgb: indices of the red, green and blue bands.
    """
    titles = ("PAN", "MS", "EXP", "fused", "truth", "|EXP - truth|", "|fused - truth|")
    with_truth = "gt" in samples[0]
    rows, columns = len(samples), len(titles) if with_truth else 4
    figure = Figure(figsize=(_INCHES * columns + 0.6, _INCHES * rows + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (sample, result) in enumerate(zip(samples, fused, strict=True)):
        colour = _stretch(sample.get("gt", sample["lms"]), rgb)
        guide = sample["pan"].mean(-1)
        low, high = np.percentile(guide, _STRETCH)
        pictures = [np.clip((guide - low) / max(high - low, 1e-9), 0, 1)]
        pictures += [colour(image) for image in (sample["ms"], sample["lms"], result)]
        worst = 1.0
        if with_truth:
            errors = [_error(image, sample["gt"]) for image in (sample["lms"], result)]
            worst = max(float(np.percentile(errors[0], 99.5)), 1e-9)
            pictures += [colour(sample["gt"]), *errors]
        for column, (axis, picture) in enumerate(zip(axes[row], pictures, strict=True)):
            is_error = column >= 5
            drawn = axis.imshow(
                picture,
                cmap="magma" if is_error else "gray",
                vmin=0,
                vmax=worst if is_error else 1,
                interpolation="nearest",
            )
            axis.set_axis_off()
            if row == 0:
                axis.set_title(titles[column], fontsize=9)
        if with_truth:
            figure.colorbar(drawn, ax=axes[row][-1], shrink=0.85).ax.tick_params(labelsize=6)
    return figure


def zoom(sample: dict, fused: dict[str, np.ndarray], rgb: tuple[int, int, int]) -> Figure:
    """Draw one image by every method: the whole image, an enlarged part, and the error map.

    Args:
        sample: dict of `pan`, `ms`, `lms` and optionally `gt`, without which there are no errors.
        fused: fused image, (H, W, C), by label of the method.
        rgb: indices of the red, green and blue bands.
    """
    truth = sample.get("gt")
    colour = _stretch(sample["lms"] if truth is None else truth, rgb)
    pictures, errors = dict(fused), {}
    if truth is not None:
        pictures["truth"] = truth
        errors = {label: _error(image, truth) for label, image in fused.items()}
        worst = max(float(np.percentile(next(iter(errors.values())), 99.5)), 1e-9)
    height, width = sample["lms"].shape[:2]
    side = max(min(height, width) // 4, 8)
    row, column = _busiest(sample["pan"].mean(-1), side)
    lines = 2 if truth is None else 3
    figure = Figure(figsize=(_INCHES * len(pictures), _INCHES * lines + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(lines, len(pictures), squeeze=False)
    for position, (label, image) in enumerate(pictures.items()):
        whole, part = axes[:2, position]
        whole.imshow(colour(image), interpolation="nearest")
        frame = Rectangle((column - 0.5, row - 0.5), side, side, fill=False, color="yellow")
        whole.add_patch(frame)
        whole.set_title(label, fontsize=9)
        inside = image[row : row + side, column : column + side]
        part.imshow(colour(inside), interpolation="nearest")
        if label in errors:
            axes[2, position].imshow(errors[label], cmap="magma", vmin=0, vmax=worst)
        for axis in axes[:, position]:
            axis.set_axis_off()
    return figure


def _error(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the absolute error of each pixel, averaged over the bands."""
    return np.abs(image - truth).mean(-1)


def _busiest(image: np.ndarray, side: int) -> tuple[int, int]:
    """Return the top left corner of the tile with the highest contrast."""
    corners = [
        (row, column)
        for row in range(0, image.shape[0] - side + 1, side)
        for column in range(0, image.shape[1] - side + 1, side)
    ]
    return max(corners, key=lambda c: image[c[0] : c[0] + side, c[1] : c[1] + side].std())


def save_picture(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    figure.savefig(path, dpi=110)


def as_array(figure: Figure) -> np.ndarray:
    """Return the pixels of a figure, (H, W, 3) uint8."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def _stretch(truth: np.ndarray, rgb: tuple[int, int, int]):
    """Make the linear contrast stretch of each colour from the percentiles of an image."""
    bands = list(rgb)
    low, high = np.percentile(truth[..., bands], _STRETCH, axis=(0, 1))

    def apply(image):
        return np.clip((image[..., bands] - low) / np.maximum(high - low, 1e-9), 0, 1)

    return apply
