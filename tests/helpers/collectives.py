"""Communication between devices in a compiled program."""

from benchmarks.speed.hlo import count


def collectives(compiled) -> dict[str, int]:
    """Count the collective operations of a compiled program, those in loops once for every turn.

    Args:
        compiled: from `jax.jit(...).lower(...).compile()`.

    Returns:
        Numbers by name as in XLA's HLO, such as {"all-reduce": 1}; empty without communication.
    """
    return dict(count(compiled.as_text()).collectives)
