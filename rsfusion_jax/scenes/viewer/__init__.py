"""A page that shows a fused scene: layers to swipe over, values and spectra under the cursor."""

from rsfusion_jax.scenes.viewer.show import view

__all__ = ["view"]
