"""Procedural scenes for training and tests without real images."""

from rsfusion_jax.data.synthetic.cameras import ManyCameras
from rsfusion_jax.data.synthetic.source import SyntheticScenes

__all__ = ["ManyCameras", "SyntheticScenes"]
