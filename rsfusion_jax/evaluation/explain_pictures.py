"""How `rsfusion explain` draws what networks add, what their blocks see and where they look."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rsfusion_jax.errors import UserError
from rsfusion_jax.evaluation.channels import draw_channels
from rsfusion_jax.inference.attention import attention_weights
from rsfusion_jax.inference.fuser import Fuser
from rsfusion_jax.inference.influence import influence

_INCHES = 2.2
_DARKEST = 1e-4
"""Smallest influence that is drawn, over the largest."""


def draw_details(
    sample: dict, fused: dict[str, np.ndarray], bands: Sequence[int], inches: float = _INCHES
) -> Figure:
    """Draw the injected detail of each method, and its error where there is a ground truth.

    Args:
        sample: dict of `lms` and optionally `gt`, (H, W, C), in one unit with `fused`.
        fused: fused image, (H, W, C), by label of the method.
        bands: indices of the bands that are drawn.
        inches: side of one image.
    """
    lms, truth = sample["lms"], sample.get("gt")
    details = {} if truth is None else {"truth": truth - lms}
    details |= {label: image - lms for label, image in fused.items()}
    kinds = 1 if truth is None else 2
    figure, axes = _subplots(kinds * len(bands), len(details), inches)
    for row, band in enumerate(bands):
        of_band = {label: detail[..., band] for label, detail in details.items()}
        scale = np.percentile(np.abs(next(iter(of_band.values()))), 99.5)
        for axis, (label, detail) in zip(axes[kinds * row], of_band.items(), strict=True):
            axis.imshow(detail, cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest")
            if row == 0:
                axis.set_title(label, fontsize=9)
        _label_row(axes[kinds * row, 0], f"band {band + 1}: detail")
        if truth is None:
            continue
        errors = [np.abs(detail - of_band["truth"]) for detail in of_band.values()]
        worst = np.percentile(np.abs(of_band["truth"]), 99.5)
        for axis, error in zip(axes[kinds * row + 1], errors, strict=True):
            axis.imshow(error, cmap="magma", vmin=0, vmax=worst, interpolation="nearest")
        _label_row(axes[kinds * row + 1, 0], "|error|")
    return figure


def draw_blocks(
    blocks: Mapping[str, np.ndarray],
    columns: int = 3,
    most: int = 16,
    inches: float = 2 * _INCHES,
) -> Figure:
    """Draw channels of what blocks return, each with its own stretch.

    Args:
        blocks: output, (h, w, c), by name of the block.
        columns: number of blocks side by side.
        most: number of channels that are drawn of each block at most.
        inches: width of one block.
    """
    columns = min(columns, len(blocks))
    rows = -(-len(blocks) // columns)
    pictures = {name: draw_channels(maps, most) for name, maps in blocks.items()}
    tallest = max(len(picture) / picture.shape[1] for picture in pictures.values())
    figure, axes = _subplots(rows, columns, inches, tallest)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, (name, picture) in zip(axes.flat, pictures.items(), strict=False):
        axis.imshow(picture, interpolation="nearest")
        height, width, channels = blocks[name].shape
        axis.set_title(f"{name}, {channels} channels of {height}x{width}", fontsize=8)
    return figure


def draw_influence(
    fusers: Mapping[str, Fuser], pan, ms, pixel: tuple[int, int], inches: float = _INCHES
) -> Figure:
    """Draw how much pixels of PAN (above) and MS (below) change one fused pixel.

    Args:
        fusers: networks by label; diffusion networks are left out.
        pan: as for `influence`.
        ms: likewise.
        pixel: row and column.
        inches: side of one image.

    Raises:
        UserError: no network fuses in one pass.
    """
    fusers = {label: fuser for label, fuser in fusers.items() if fuser.diffusion is None}
    if not fusers:
        raise UserError("--pixel is of networks that fuse in one pass, and none is named")
    figure, axes = _subplots(2, len(fusers), inches)
    for column, (label, fuser) in enumerate(fusers.items()):
        maps = influence(fuser, pan, ms, pixel)
        for row, (name, image) in enumerate(zip(("PAN", "MS"), maps, strict=True)):
            relative = np.maximum(image / max(image.max(), 1e-30), _DARKEST)
            axis = axes[row, column]
            drawn = axis.imshow(np.log10(relative), cmap="viridis", vmin=np.log10(_DARKEST), vmax=0)
            step, phase = (fuser.model.ratio, fuser.ms_phase) if row else (1, 0)
            y, x = ((place - phase) / step for place in pixel)
            axis.plot(x, y, "r+", markersize=6)
            if row == 0:
                axis.set_title(label, fontsize=9)
            _label_row(axes[row, 0], f"influence of {name}")
    figure.colorbar(drawn, ax=axes, shrink=0.6, label="log10 of the share of the largest")
    return figure


def draw_attention(
    fusers: Mapping[str, Fuser], pan, ms, pixel: tuple[int, int], inches: float = _INCHES
) -> Figure | None:
    """Draw where a pixel attends, a row for each network that has an attention.

    Beside PAN, with the windows that the pixel attends to, stands the first attention of each
    outer block: its weights, averaged over the heads, over that of equal attention to all pixels.
    Red is more than equal, blue less; each picture has its own scale, and its range in the title.

    Args:
        fusers: networks by label.
        pan: as for `influence`.
        ms: likewise.
        pixel: row and column.
        inches: side of one image.

    Returns:
        The figure; None if no network has an attention that `attention_weights` knows.
    """
    rows = {}
    for label, fuser in fusers.items():
        found = {} if fuser.diffusion else attention_weights(fuser, pan, ms, pixel)
        first = {}
        for path, attended in found.items():
            first.setdefault(path.partition("/")[0], (path, *attended))
        if first:
            rows[label] = list(first.values())
    if not rows:
        return None
    figure, axes = _subplots(len(rows), 1 + max(map(len, rows.values())), inches)
    for axis in axes[:, 1:].flat:
        axis.set_axis_off()
    for line, (label, attentions) in zip(axes, rows.items(), strict=True):
        line[0].imshow(np.asarray(pan)[0].mean(-1), cmap="gray", interpolation="nearest")
        line[0].plot(*pixel[::-1], "r+", markersize=6)
        _label_row(line[0], label)
        for axis, (path, weights, place) in zip(line[1:], attentions, strict=False):
            step = np.asarray(pan).shape[1] / weights.shape[1]
            window = tuple(slice(used.min(), used.max() + 1) for used in np.nonzero(weights.max(0)))
            seen = weights.mean(0)[window]
            relative = seen * seen.size
            largest = max(np.abs(relative - 1).max(), 1e-9)
            stretch = {"cmap": "RdBu_r", "vmin": 1 - largest, "vmax": 1 + largest}
            axis.imshow(relative, interpolation="nearest", **stretch)
            axis.plot(place[1] - window[1].start, place[0] - window[0].start, "k+", markersize=6)
            sizes = f"{seen.shape[0]}x{seen.shape[1]} pixels of {step:g}"
            values = f"{relative.min():.3f} to {relative.max():.3f}"
            axis.set_title(f"{path}\n{sizes}\n{values}", fontsize=7)
            axis.set_axis_on()
            top, left = (part.start * step - 0.5 for part in window)
            height, width = (side * step for side in seen.shape)
            line[0].add_patch(
                Rectangle((left, top), width, height, fill=False, color="yellow", linewidth=0.8)
            )
    return figure


def _subplots(rows: int, columns: int, inches: float = _INCHES, aspect: float = 1.0):
    size = inches * columns + 0.6, aspect * inches * rows + 0.3
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    return figure, axes


def _label_row(axis, text: str) -> None:
    axis.set_ylabel(text, fontsize=8)
