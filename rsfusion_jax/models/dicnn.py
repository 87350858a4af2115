"""DiCNN: details injected by a three-layer convolutional network.

L. He, Y. Rao, J. Li, J. Chanussot, A. Plaza, J. Zhu, B. Li, "Pansharpening via Detail Injection
Based Convolutional Neural Networks", IEEE JSTARS 12(4), 2019, doi:10.1109/JSTARS.2019.2898574.

The paper's DiCNN1, which draws the details from both images. Reproduced exactly as in DLPan-Toolbox
(doi:10.1109/MGRS.2022.3187652): 46,792 parameters at 8 bands and one PAN band, 42,180 at 4.

What is ours: any band count, guide and ratio.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp

from rsfusion_jax.models import layers
from rsfusion_jax.models.network import Network

Conv = functools.partial(layers.Conv, init=layers.truncated_normal_fan_in)


class DiCNN(Network):
    """Three convolutions whose output is added to the upsampled image, on the PAN grid."""

    title = "DiCNN"
    receptive_field = 7  # three 3x3 convolutions in a row

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False):
        """Fuses a batch from `pan` and `lms`; see `Network`."""
        x = jnp.concatenate([lms, pan], axis=-1)
        x = nn.relu(Conv(64, name="conv1")(x))
        x = nn.relu(Conv(64, name="conv2")(x))
        return {"fused": lms + Conv(self.num_bands, name="conv3")(x)}


Model = DiCNN
