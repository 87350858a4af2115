"""Convert weights from and to PyTorch, with one strict table of tensors per network."""

from rsfusion_jax.porting.convert import from_torch, to_torch
from rsfusion_jax.porting.torch_file import read_state_dict, write_state_dict

__all__ = ["from_torch", "read_state_dict", "to_torch", "write_state_dict"]
