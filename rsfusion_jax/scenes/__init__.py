"""Whole scenes, from GeoTIFF to GeoTIFF."""

from rsfusion_jax.scenes.options import Options
from rsfusion_jax.scenes.run import Result, fuse_scene

__all__ = ["Options", "Result", "fuse_scene"]
