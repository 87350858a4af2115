"""Procedural scenes to train and test on without a single real image."""

from rsfusion_jax.data.synthetic.cameras import ManyCameras
from rsfusion_jax.data.synthetic.source import SyntheticScenes

__all__ = ["ManyCameras", "SyntheticScenes"]
