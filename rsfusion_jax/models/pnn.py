"""PNN: pansharpening by a three-layer convolutional network.

G. Masi, D. Cozzolino, L. Verdoliva, G. Scarpa, "Pansharpening by Convolutional Neural Networks",
Remote Sensing 8(7), 2016, doi:10.3390/rs8070594.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652) when it fuses: 104,360
parameters at 8 bands and one PAN band, 80,420 at 4. The convolutions are unpadded, so that the
inputs are widened by eight repeated edge pixels on every side.

What differs: in training the toolbox does not widen the inputs and compares the smaller output with
the inner part of the truth; here training sees the border too. What is ours: any band count, guide
and ratio.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv

_BORDER = 8
"""Pixels that the three convolutions look beyond their centre, together."""


class PNN(nn.Module):
    """Three convolutions of the concatenated images.

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
    receptive_field: ClassVar[int | None] = 2 * _BORDER + 1

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
        height, width = pan.shape[1:3]
        args = {"dtype": self.dtype, "precision": self.precision}
        border = ((0, 0), (_BORDER, _BORDER), (_BORDER, _BORDER), (0, 0))
        x = jnp.pad(jnp.concatenate([lms, pan], axis=-1), border, mode="edge")
        # The zero padding of these layers reaches only what is cropped at the end.
        x = nn.relu(Conv(64, kernel_size=9, name="conv1", **args)(x))
        x = nn.relu(Conv(32, kernel_size=5, name="conv2", **args)(x))
        x = Conv(self.num_bands, kernel_size=5, name="conv3", **args)(x)
        return {"fused": x[:, _BORDER : _BORDER + height, _BORDER : _BORDER + width]}


Model = PNN
