"""Most of the suite's time is the compilation of small programs: here it takes half as long.

XLA's CPU backend leaves out LLVM's optimisations and generates code the plainest way.
"""

import jax

_OPTIONS = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": "true"}
_USERS = {}
if jax.version.__version_info__ < (0, 11):  # XLA ends the process at a flag that it does not know.
    _OPTIONS |= {
        "xla_cpu_use_fusion_emitters": "false",
        "xla_cpu_parallel_codegen_split_count": "1",
    }
    _USERS = {"xla_cpu_use_fusion_emitters": True}

XLA_FLAGS = " ".join(f"--{name}={value}" for name, value in _OPTIONS.items())
"""For the environment, before the first program is compiled."""


def jit_as_users(function):
    """`jax.jit` in whose programs numbers are summed in the order that users have.

    For tolerances that allow the rounding that was measured there and no more.
    """
    return jax.jit(function, compiler_options=_USERS)
