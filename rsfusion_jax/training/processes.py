"""One run in several processes: who writes, and waiting for each other."""

import jax


def is_first() -> bool:
    """Whether this process is the one that writes logs and reports."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until every process is here; nothing in a run of one process."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
