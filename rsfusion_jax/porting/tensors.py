"""Entries of a porting table: the kinds of tensors in a PyTorch state dict."""

import dataclasses
from collections.abc import Iterator

import numpy as np

_TO_FLAX = {
    "conv": lambda w: w.transpose(2, 3, 1, 0),  # (out, in, kh, kw) -> (kh, kw, in, out)
    "conv_transpose": lambda w: w.transpose(2, 3, 0, 1),  # (in, out, kh, kw) -> (kh, kw, in, out)
    "linear": lambda w: w.T,  # (out, in) -> (in, out)
    "pointwise": lambda w: w[:, :, 0, 0].T,  # (out, in, 1, 1) -> (in, out)
    "vector": lambda w: w,
}
_TO_TORCH = {
    "conv": lambda w: w.transpose(3, 2, 0, 1),
    "conv_transpose": lambda w: w.transpose(2, 3, 0, 1),
    "linear": lambda w: w.T,
    "pointwise": lambda w: w.T[:, :, None, None],
    "vector": lambda w: w,
}


@dataclasses.dataclass(frozen=True)
class Live:
    """A tensor that the network computes with.

    Attributes:
        name: key in the authors' state dict.
        path: path of the parameter in the Flax tree.
        layout: axis order in PyTorch: `conv`, `conv_transpose`, `linear`, `pointwise` (a 1x1
            convolution that is a matrix here) or `vector`.
    """

    name: str
    path: tuple[str, ...]
    layout: str = "vector"

    def to_flax(self, tensor: np.ndarray) -> np.ndarray:
        """Convert from the axis order of PyTorch to that of Flax."""
        return np.ascontiguousarray(_TO_FLAX[self.layout](tensor))

    def to_torch(self, parameter: np.ndarray) -> np.ndarray:
        """Convert from the axis order of Flax to that of PyTorch."""
        return np.ascontiguousarray(_TO_TORCH[self.layout](parameter))


@dataclasses.dataclass(frozen=True)
class Constant:
    """A buffer with values fixed by the architecture; computed again on export."""

    name: str
    value: np.ndarray


@dataclasses.dataclass(frozen=True)
class Dead:
    """A parameter that the authors' network has but never uses; zeros on export."""

    name: str
    shape: tuple[int, ...]


Tensor = Live | Constant | Dead


def weight_and_bias(name: str, path: tuple[str, ...], layout: str) -> Iterator[Live]:
    """Yield the two tensors of a PyTorch convolution or linear layer."""
    yield Live(f"{name}.weight", (*path, "kernel"), layout)
    yield Live(f"{name}.bias", (*path, "bias"))


def norm(name: str, path: tuple[str, ...]) -> Iterator[Live]:
    """Yield the two tensors of a PyTorch normalisation layer."""
    yield Live(f"{name}.weight", (*path, "scale"))
    yield Live(f"{name}.bias", (*path, "bias"))
