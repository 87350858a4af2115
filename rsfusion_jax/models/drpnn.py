"""DRPNN: a deep residual network of large kernels.

Y. Wei, Q. Yuan, H. Shen, L. Zhang, "Boosting the Accuracy of Multispectral Image Pansharpening by
Learning a Deep Residual Network", IEEE GRSL 14(10), 2017, doi:10.1109/LGRS.2017.2736020.

Reproduced exactly as in DLPan-Toolbox (doi:10.1109/MGRS.2022.3187652), with 32 channels: 433,465
parameters at 8 bands and one PAN band, 418,365 at 4. The residual is added to both images, and a
last convolution reduces the sum to the bands.

What is ours: any band count, guide and ratio.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv


class DRPNN(nn.Module):
    """Eleven 7x7 convolutions; the first ten are bridged by a skip.

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
    receptive_field: ClassVar[int | None] = 67  # eleven 7x7 convolutions in a row

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
        args = {"kernel_size": 7, "dtype": self.dtype, "precision": self.precision}
        images = jnp.concatenate([lms, pan], axis=-1)
        x = nn.relu(Conv(32, name="conv1", **args)(images))
        for block in range(8):
            x = nn.relu(Conv(32, name=f"backbone{block}", **args)(x))
        x = images + Conv(images.shape[-1], name="conv2", **args)(x)
        return {"fused": Conv(self.num_bands, name="conv3", **args)(x)}


Model = DRPNN
