"""The diffusion process behind DDIF: pure functions that take any network as a `denoise` call."""
