"""Communication between devices in a compiled program."""

import collections
import re

_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
# A call is `name(`; `-start(` where it is asynchronous, whose `-done(` is not counted again.
_CALL = re.compile(rf" ({'|'.join(_COLLECTIVES)})(?:-start)?\(")


def collectives(compiled) -> dict[str, int]:
    """Count the collective operations of a compiled program; those of a loop's body count once.

    Args:
        compiled: from `jax.jit(...).lower(...).compile()`.

    Returns:
        Numbers by name as in XLA's HLO, such as {"all-reduce": 1}; empty without communication.
    """
    return dict(collections.Counter(_CALL.findall(compiled.as_text())))
