"""Checks of a checkpoint on disk: that it is complete, of this format and of this network."""

from pathlib import Path

from flax.traverse_util import flatten_dict

from rsfusion_jax.errors import UserError
from rsfusion_jax.runs.digest import digest_of_arrays, digest_of_json
from rsfusion_jax.runs.stored_json import BadJSONError, check_entries, read_object

FORMAT = 1
"""Version of a checkpoint's layout, stored in its card; increased when older versions of this
package cannot read the new layout."""

_DIGESTS = "digests"
_CARD = {"network": dict, "scale": dict}
_SCALE = {
    "sensor": (dict, str, type(None)),
    "max_value": (int, float, type(None)),
    "ms_phase": (int, float, type(None)),
    "pan_value": (int, float, type(None)),
}


class DamagedError(Exception):
    """A checkpoint is incomplete or unreadable; the message says which part."""


def parse_card(checkpoint: Path) -> dict:
    """Read the card of a checkpoint: a description of its network and of the scale of its data.

    Raises:
        DamagedError: there is no readable card.
        UserError: a later version of this package wrote it.
    """
    try:
        card = read_object((checkpoint / "card" / "metadata").read_bytes(), _CARD)
        check_entries(card, {"format": int}, optional=("format",))
        check_entries(card["network"], {"name": str, "num_bands": int})
        check_scale(card["scale"])
        check_entries(card, {_DIGESTS: dict}, optional=(_DIGESTS,))
    except (OSError, BadJSONError) as error:
        raise DamagedError(f"its card is missing or unreadable: {error}") from error
    if card.get("format", FORMAT) > FORMAT:
        raise UserError(
            f"checkpoint {checkpoint} has format {card['format']} and this version of rsfusion_jax "
            f"reads formats up to {FORMAT}; upgrade rsfusion_jax or use another checkpoint"
        )
    check_digest(card, "card", _without_own_digest(card))
    # Networks had the field `precision` in earlier versions.
    card["network"].pop("precision", None)
    return card


def check_scale(scale: dict) -> None:
    """Raise `BadJSONError` where the scale of a network's data has a wrong or unknown entry."""
    check_entries(scale, _SCALE, optional=_SCALE)
    if unknown := sorted(set(scale) - set(_SCALE)):
        raise BadJSONError(f"its scale has the unknown entry {unknown[0]!r}")


def with_digests(card: dict, digests: dict) -> dict:
    """Return a card with the digests of a checkpoint's items and of itself."""
    own = digest_of_json(_without_own_digest({**card, _DIGESTS: digests}))
    return {**card, _DIGESTS: {**digests, "card": own}}


def check_digest(card: dict, item: str, value) -> None:
    """Raise `DamagedError` where an item is not what was saved.

    Args:
        card: card of the checkpoint; those of earlier versions have no digests.
        item: name of the item.
        value: what was read: a tree of arrays, or for "data" and "card" a JSON value.
    """
    stored = card.get(_DIGESTS, {}).get(item)
    compute = digest_of_json if item in ("card", "data") else digest_of_arrays
    if stored is not None and compute(value) != stored:
        raise DamagedError(f"its {item} changed after it was saved")


def _without_own_digest(card: dict) -> dict:
    digests = {name: value for name, value in card.get(_DIGESTS, {}).items() if name != "card"}
    return {**card, _DIGESTS: digests}


def check_complete(checkpoint: Path, items) -> None:
    """Raise `DamagedError` unless the checkpoint has its metadata and the folder of every item."""
    if not (checkpoint / "_CHECKPOINT_METADATA").is_file():
        raise DamagedError("its metadata are missing")
    for item in items:
        if not (checkpoint / item).is_dir():
            raise DamagedError(f"its part {item} is missing")


def check_network(checkpoint: Path, stored: dict, expected: dict) -> None:
    """Raise `UserError` for a checkpoint of another network.

    Args:
        checkpoint: folder of the checkpoint.
        stored: "network" of the checkpoint's card.
        expected: "network" of the card of the network that is to be used.
    """
    differing = sorted(key for key in stored | expected if stored.get(key) != expected.get(key))
    if differing:
        differing = [key for key in differing if key == "name"] or differing
        shown = ", ".join(f"{key}={stored.get(key)!r}" for key in differing)
        needed = ", ".join(f"{key}={expected.get(key)!r}" for key in differing)
        raise UserError(
            f"checkpoint {checkpoint} holds a network with {shown}, this run builds one with "
            f"{needed}; make the two configs agree or use another checkpoint"
        )


def check_shapes(checkpoint: Path, stored: dict, expected: dict) -> None:
    """Raise `UserError` where names or shapes of parameters are not those of the network.

    Args:
        checkpoint: folder of the checkpoint.
        stored: tree of the parameters in the checkpoint; its leaves have a `shape`.
        expected: tree of the network's parameters; its leaves have a `shape`.
    """
    stored, expected = (
        {"/".join(map(str, path)): tuple(leaf.shape) for path, leaf in flatten_dict(tree).items()}
        for tree in (stored, expected)
    )
    for name in sorted(stored | expected):
        if stored.get(name) != expected.get(name):
            raise UserError(
                f"checkpoint {checkpoint} has {_shape(stored, name)} for {name} and this network "
                f"{_shape(expected, name)}; use a checkpoint of the same network"
            )


def _shape(shapes: dict, name: str) -> str:
    return f"shape {shapes[name]}" if name in shapes else "nothing"
