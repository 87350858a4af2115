"""What programs of several processes on this machine are started with."""

import os
import socket

import jax


def free_address() -> str:
    """Host and port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


def environment(devices: int, **more: str) -> dict[str, str]:
    """Environment of a process with `devices` devices that shares the compiled programs."""
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        **more,
    }
