"""Base classes of the networks: the dtype that layers compute in, and how a network is called."""

import dataclasses
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp


class Layer(nn.Module):
    """A module that computes in a chosen dtype; its parameters stay float32.

    A layer created without a dtype takes that of the layer it is created in, so that only the
    network itself needs one. The precision of matrix products is no field: callers set it around
    the whole program with `jax.default_matmul_precision`.

    Attributes:
        dtype: compute dtype; None follows the inputs and parameters.
    """

    dtype: jnp.dtype | None = dataclasses.field(default=None, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        if self.dtype is None and isinstance(self.parent, Layer):
            object.__setattr__(self, "dtype", self.parent.dtype)

    def param(self, name, init, shape, dtype=jnp.float32):
        """Declares a parameter: float32 also where `jax_enable_x64` makes float64 the default."""
        return super().param(name, init, shape, dtype)

    def promote(self, *trees):
        """Casts arrays, or trees of arrays, to the compute dtype; without one to a common dtype."""
        leaves, structure = jax.tree.flatten(trees)
        leaves = nn.dtypes.promote_dtype(*leaves, dtype=self.dtype)
        return jax.tree.unflatten(structure, leaves)


class Network(Layer):
    """A network that fuses a low-resolution image of many bands with a guide of high resolution.

    Attributes:
        num_bands: C, bands of the low-resolution image.
        guide_bands: G, bands of the guide; 1 for a panchromatic image.
        ratio: r, guide pixels per low-resolution pixel along one axis.
        title: name in tables and messages; in lower case the name of the network's file.
        predicts: "fused" for a network that fuses in one pass. The denoiser of a diffusion says
            what it predicts instead, and has a call of its own.
        receptive_field: side in PAN pixels of the square around a fused pixel outside of which no
            input changes it; None where every pixel depends on the whole image.
        sees_units: whether the result depends on the full scale by which images are divided.
        inner_reach: of a network whose call takes `inner`, PAN pixels around a pixel that its
            layers behind the first, wide ones see; None for others.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4

    title: ClassVar[str]
    predicts: ClassVar[str] = "fused"
    receptive_field: ClassVar[int | None] = None
    sees_units: ClassVar[bool] = True
    inner_reach: ClassVar[int | None] = None

    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch of images in [0, 1]. Every network is called so, whatever it makes use of.

        Args:
            pan: (B, r h, r w, G) guide.
            ms: (B, h, w, C) low-resolution image.
            lms: (B, r h, r w, C) `ms` upsampled to the grid of the guide.
            train: whether the call is part of training; matters to networks with dropout only.

        Returns:
            Dict with "fused": (B, r h, r w, C), not clipped. Further entries are for losses.

        Raises:
            UserError: sizes or fields that the network does not take.
        """
        raise NotImplementedError
