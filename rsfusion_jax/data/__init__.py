"""Data sources: stored data sets, synthetic scenes, simulation by Wald's protocol, and batching."""

from rsfusion_jax.data.simulation.wald import simulate

__all__ = ["simulate"]
