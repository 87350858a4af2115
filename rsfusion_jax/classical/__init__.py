from rsfusion_jax.classical.registry import fuse, get_method, list_methods

__all__ = ["fuse", "get_method", "list_methods"]
