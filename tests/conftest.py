"""Every test sees eight CPU devices and the shared goldens, if they are there."""

import os
from pathlib import Path

import jax
import psutil
import pytest
from quick_compilation import XLA_FLAGS

os.environ.setdefault("XLA_FLAGS", XLA_FLAGS)
pytest.register_assert_rewrite("parity")
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
# Compiled programs are kept between runs.
_CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "rsfusion_jax" / "tests"
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)

_MOST_MEMORY = 2 * 2**30
"""Of a worker, in bytes, beyond which it forgets its compiled programs; most are on disk.

Forgetting costs 0.1 CPU seconds, and a network that comes again in a later file about as much as
its first use: 0.5 (PNN), 1.5 (RAMSF), 3.3 (U2Net), where it would take 0.1, 0.7 and 1.3. After ten
files of tests/ops a worker holds 1,030 MB; forgetting after each of them, 630 MB, at no more CPU
seconds (28 and 33, the latter with programs not yet on disk): files seldom share programs. So a
worker may forget when it is large, and need not before.
"""


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory():
    yield
    if psutil.Process().memory_info().rss > _MOST_MEMORY:
        jax.clear_caches()


_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of goldens and real imagery that lies beside the checkout, never inside it."""
    if not (_SHARED / "parity").is_dir():
        pytest.skip("no folder ../shared with goldens beside this checkout")
    return _SHARED
