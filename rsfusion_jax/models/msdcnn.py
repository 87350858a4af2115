"""MSDCNN: a deep multiscale and a shallow convolutional branch, added.

Q. Yuan, Y. Wei, X. Meng, H. Shen, L. Zhang, "A Multiscale and Multidepth Convolutional Neural
Network for Remote Sensing Imagery Pan-Sharpening", IEEE JSTARS 11(3), 2018,
doi:10.1109/JSTARS.2018.2794888.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652), with a ReLU after the sum
that keeps the fused image from being negative: 228,556 parameters at 8 bands and one PAN band,
189,852 at 4.

What is ours: any band count, guide and ratio.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv


class MultiscaleBlock(nn.Module):
    """ReLU(x + [conv 3x3, conv 5x5, conv 7x7](x)), each with a third of the channels."""

    dtype: jnp.dtype | None = None
    precision: jax.lax.PrecisionLike = None

    @nn.compact
    def __call__(self, x):
        """(B, H, W, c) -> (B, H, W, c)."""
        args = {"dtype": self.dtype, "precision": self.precision}
        third = x.shape[-1] // 3
        scales = [
            Conv(third, kernel_size=size, name=f"conv{size}x{size}", **args)(x)
            for size in (3, 5, 7)
        ]
        return nn.relu(x + jnp.concatenate(scales, axis=-1))


class MSDCNN(nn.Module):
    """Deep branch of two multiscale blocks plus shallow branch of three convolutions.

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
    receptive_field: ClassVar[int | None] = 25  # 7, 7, 3, 7 and 5 in the deep branch

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch.

        Args:
            pan: (B, H, W, G) guide.
            ms: unused: the network sees the low-resolution image on the PAN grid.
            lms: (B, H, W, C) low-resolution image on the PAN grid.
            train: unused: the network has no dropout and no batch statistics.

        Returns:
            {"fused": (B, H, W, C)}, never negative, unclipped above.
        """
        args = {"dtype": self.dtype, "precision": self.precision}
        images = jnp.concatenate([lms, pan], axis=-1)

        deep = nn.relu(Conv(60, kernel_size=7, name="conv1", **args)(images))
        deep = MultiscaleBlock(name="multiscale2", **args)(deep)  # (B, H, W, 60)
        deep = nn.relu(Conv(30, name="conv3", **args)(deep))
        deep = MultiscaleBlock(name="multiscale4", **args)(deep)  # (B, H, W, 30)
        deep = Conv(self.num_bands, kernel_size=5, name="conv5", **args)(deep)

        shallow = nn.relu(Conv(64, kernel_size=9, name="shallow1", **args)(images))
        shallow = nn.relu(Conv(32, kernel_size=1, name="shallow2", **args)(shallow))
        shallow = Conv(self.num_bands, kernel_size=5, name="shallow3", **args)(shallow)
        return {"fused": nn.relu(deep + shallow)}


Model = MSDCNN
