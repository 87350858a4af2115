"""Where samples come from: stored sets, synthetic scenes, Wald simulation, and batches of them."""

from rsfusion_jax.data.simulation.wald import simulate

__all__ = ["simulate"]
