"""Whole scenes, from GeoTIFF to GeoTIFF."""

from rsfusion_jax.scenes.run import Options, Result, fuse_scene

__all__ = ["Options", "Result", "fuse_scene"]
