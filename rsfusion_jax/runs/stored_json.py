"""Read JSON that lies on a disk and may be damaged: one place for everything that can be wrong."""

import json
import math
from collections.abc import Mapping


class BadJSONError(ValueError):
    """The text is not the JSON that was expected; the message says what is wrong with it."""


def read_object(text: bytes | str, entries: Mapping[str, object] | None = None) -> dict:
    """Parse a JSON object and check the types of its entries.

    Args:
        text: the file's content, UTF-8.
        entries: for each entry that must be there, its type or types, as for `isinstance`. Numbers
            must be finite.

    Raises:
        BadJSONError: the text is no JSON, is nested too deeply, is no object, or an entry is
            missing or has another type.
    """
    try:
        found = json.loads(text)
    except UnicodeDecodeError as error:
        raise BadJSONError("it is not UTF-8") from error
    except RecursionError as error:
        raise BadJSONError("it is nested too deeply") from error
    except ValueError as error:  # also an integer of more digits than Python converts
        raise BadJSONError("it is not JSON") from error
    if not isinstance(found, dict):
        raise BadJSONError("it is not an object")
    check_entries(found, entries or {})
    return found


def check_entries(found: Mapping, entries: Mapping[str, object], optional=()) -> None:
    """Raise `BadJSONError` where an entry is missing or has another type than `entries` says.

    Args:
        found: a parsed object.
        entries: type or types by name; numbers must be finite.
        optional: names that may be missing.
    """
    for name, kinds in entries.items():
        value = found.get(name)
        if name not in found and name in optional:
            continue
        if not isinstance(value, kinds) or (isinstance(value, float) and not math.isfinite(value)):
            raise BadJSONError(f"its entry {name!r} is {'wrong' if name in found else 'missing'}")
