"""Whether a checkpoint on disk can be used: complete, of this format, of this network."""

import json
from pathlib import Path

from flax.traverse_util import flatten_dict

from rsfusion_jax.errors import UserError

FORMAT = 1
"""Version of a checkpoint's layout, in its card; raised when older programs cannot read it."""


class DamagedError(Exception):
    """A checkpoint is incomplete or unreadable; the message says what of it."""


def parse_card(checkpoint: Path) -> dict:
    """What the checkpoint's network is and what its numbers mean.

    Raises:
        DamagedError: no readable card.
        UserError: a later program wrote it.
    """
    try:
        card = json.loads((checkpoint / "card" / "metadata").read_text())
    except (OSError, ValueError) as error:
        raise DamagedError("its card is missing or unreadable") from error
    if card.get("format", FORMAT) > FORMAT:
        raise UserError(
            f"checkpoint {checkpoint} has format {card['format']} and this version of rsfusion_jax "
            f"reads formats up to {FORMAT}; upgrade rsfusion_jax or use another checkpoint"
        )
    # A field of networks once; the programs that run them set it now.
    card.get("network", {}).pop("precision", None)
    return card


def check_complete(checkpoint: Path, items) -> None:
    """Raises `DamagedError` unless every item's folder and metadata are there and readable."""
    if not (checkpoint / "_CHECKPOINT_METADATA").is_file():
        raise DamagedError("its metadata are missing")
    for item in items:
        if not (checkpoint / item).is_dir():
            raise DamagedError(f"its part {item} is missing")


def check_network(checkpoint: Path, found: dict, expected: dict) -> None:
    """Refuses a checkpoint of another network; both as in the card's `network`."""
    differing = sorted(key for key in found | expected if found.get(key) != expected.get(key))
    if differing:
        differing = [key for key in differing if key == "name"] or differing
        shown = ", ".join(f"{key}={found.get(key)!r}" for key in differing)
        needed = ", ".join(f"{key}={expected.get(key)!r}" for key in differing)
        raise UserError(
            f"checkpoint {checkpoint} holds a network with {shown}, this run builds one with "
            f"{needed}; make the two configs agree or use another checkpoint"
        )


def check_shapes(checkpoint: Path, found: dict, expected: dict) -> None:
    """Refuses parameters of other names or shapes than the network's, before any of them is read.

    Args:
        checkpoint: its folder.
        found: tree of what the checkpoint holds, leaves with `shape`.
        expected: tree of the network's parameters, leaves with `shape`.
    """
    found, expected = (
        {"/".join(map(str, path)): tuple(leaf.shape) for path, leaf in flatten_dict(tree).items()}
        for tree in (found, expected)
    )
    for name in sorted(found | expected):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"checkpoint {checkpoint} has {_shape(found, name)} for {name} and this network "
                f"{_shape(expected, name)}; use a checkpoint of the same network"
            )


def _shape(shapes: dict, name: str) -> str:
    return f"shape {shapes[name]}" if name in shapes else "nothing"
