"""DiCNN: details injected by a three-layer convolutional network.

L. He, Y. Rao, J. Li, J. Chanussot, A. Plaza, J. Zhu, B. Li, "Pansharpening via Detail Injection
Based Convolutional Neural Networks", IEEE JSTARS 12(4), 2019, doi:10.1109/JSTARS.2019.2898574.

The paper's DiCNN1, which draws the details from both images. Reproduced exactly as in DLPan-Toolbox
(doi:10.1109/MGRS.2022.3187652): 46,792 parameters at 8 bands and one PAN band, 42,180 at 4.

What is ours: any band count, guide and ratio.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.layers import Conv, truncated_normal_fan_in


class DiCNN(nn.Module):
    """Three convolutions whose output is added to the low-resolution image.

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
    receptive_field: ClassVar[int | None] = 7

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
        args = {"init": truncated_normal_fan_in, "dtype": self.dtype, "precision": self.precision}
        x = jnp.concatenate([lms, pan], axis=-1)
        x = nn.relu(Conv(64, name="conv1", **args)(x))
        x = nn.relu(Conv(64, name="conv2", **args)(x))
        return {"fused": lms + Conv(self.num_bands, name="conv3", **args)(x)}


Model = DiCNN
