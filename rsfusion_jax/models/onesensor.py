"""OneSensor: the image of AnySensor, corrected for the bands of one sensor; for adaptation.

Ours, without a publication. AnySensor (models/anysensor.py) treats all bands alike, so that it
serves any sensor, but cannot learn what is special to each band of one. Here its image takes the
place of the enlarged MS, and the layers of FusionNet (models/fusionnet.py) add what it lacks:

- They see the difference of the guide to AnySensor's image, as FusionNet sees that to the enlarged
  MS, and the detail that AnySensor added.
- Their last convolution starts at zero: untrained, the network equals AnySensor.
- AnySensor's weights stay as they are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from rsfusion_jax.models.anysensor import AnySensor
from rsfusion_jax.models.fusionnet import ResBlock
from rsfusion_jax.models.layers import Conv
from rsfusion_jax.models.network import Network
from rsfusion_jax.ops.windows import cut

_REACH = 10
"""Of the ten 3 x 3 convolutions of the correction, in PAN pixels."""


class OneSensor(Network):
    """AnySensor's image and a correction by four residual blocks of 32 channels."""

    title = "OneSensor"
    inner_reach = AnySensor.inner_reach + _REACH

    @property
    def receptive_field(self) -> int:
        """AnySensor's, widened by that of the correction."""
        first = AnySensor(self.num_bands, self.guide_bands, self.ratio, parent=None)
        return first.receptive_field + 2 * _REACH

    @nn.compact
    def __call__(self, pan, ms, lms, train: bool = False, inner=None):
        """Fuses a batch; see `AnySensor`."""
        first = AnySensor(self.num_bands, self.guide_bands, self.ratio, name="first")
        start = jax.lax.stop_gradient(first(pan, ms, lms, inner=inner)["fused"])
        if inner is not None:
            places, size = [at[:, 0] for at in inner], [at.shape[1] for at in inner]
            pan, lms = cut(pan, places, size), cut(lms, places, size)
        differences = pan[..., :, None] - start[..., None, :]  # (B, H, W, G, C)
        differences = differences.reshape(*differences.shape[:3], -1)
        x = jnp.concatenate([differences, start - lms], axis=-1)
        x = nn.relu(Conv(32, name="conv1")(x))
        for block in range(1, 5):
            x = ResBlock(name=f"res{block}")(x)
        last = {"init": lambda _: nn.initializers.zeros, "name": "conv3"}
        return {"fused": start + Conv(self.num_bands, **last)(x)}


Model = OneSensor
