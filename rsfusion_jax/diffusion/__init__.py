"""The diffusion process behind DDIF: pure functions that know no network, only a `denoise` call."""
