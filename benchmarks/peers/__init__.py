"""The same computations without JAX, to measure against."""
