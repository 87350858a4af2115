"""FusionNet: details injected by a residual network of the difference between PAN and MS.

L.-J. Deng, G. Vivone, C. Jin, J. Chanussot, "Detail Injection-Based Deep Convolutional Neural
Networks for Pansharpening", IEEE TGRS 59(8), 2021, doi:10.1109/TGRS.2020.3031366.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652): 78,632 parameters at 8 bands
and one PAN band, 76,324 at 4. The authors' network returns the details; here they are already added
to the low-resolution image.

What is ours: any band count and ratio, and guides of several bands, where the differences of the
low-resolution image to each guide band are stacked.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv


class ResBlock(nn.Module):
    """x + conv(ReLU(conv(x)))."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        hidden = nn.relu(Conv(x.shape[-1], name="conv20", **args)(x))
        return x + Conv(x.shape[-1], name="conv21", **args)(hidden)


class FusionNet(nn.Module):
    """Four residual blocks of 32 channels on PAN - MS.

    Attributes:
        num_bands: C.
        guide_bands: G.
        ratio: r; the network itself works on the PAN grid and never uses it.
        dtype: compute dtype; None follows the inputs and parameters.
        precision: matrix-product precision, as `jax.lax.Precision`.
    """

    num_bands: int
    guide_bands: int = 1
    ratio: int = 4
    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    predicts: ClassVar[str] = "fused"
    receptive_field: ClassVar[int | None] = 21  # ten 3x3 convolutions in a row

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: unused: the network sees the low-resolution image on the PAN grid.
            lms: (B, H, W, C) low-resolution image on the PAN grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, unclipped.
        """
        args = {"dtype": self.dtype, "precision": self.precision}
        differences = pan[..., :, None] - lms[..., None, :]  # (B, H, W, G, C)
        x = differences.reshape(*differences.shape[:3], -1)
        x = nn.relu(Conv(32, name="conv1", **args)(x))
        for block in range(1, 5):
            x = ResBlock(name=f"res{block}", **args)(x)
        return {"fused": lms + Conv(self.num_bands, name="conv3", **args)(x)}


Model = FusionNet
