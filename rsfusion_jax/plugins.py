"""Networks and sensors of users' own: registered by a call, or declared by an installed package.

A package declares them as entry points of its distribution, which are looked up by name and
imported only when they are used. One that is broken is reported when its name is used, and no
other name is affected.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Collection
from importlib.metadata import EntryPoint, entry_points

from rsfusion_jax.errors import UserError


class Registry:
    """What users add to the package's own things of one kind, each under a name.

    Args:
        group: group of the entry points, such as "rsfusion_jax.models".
        kind: what these things are called in messages, such as "network".
        built_in: returns the names of the package's own, which nobody may take.
        accept: given a name and an object, it returns what the name stands for, or raises
            `UserError` where the object cannot be that.
    """

    def __init__(
        self,
        group: str,
        kind: str,
        built_in: Callable[[], Collection[str]],
        accept: Callable[[str, object], object],
    ):
        self._group, self._kind = group, kind
        self._built_in, self._accept = built_in, accept
        self._registered: dict[str, tuple[object, object]] = {}
        self._loaded: dict[EntryPoint, object] = {}

    def add(self, name: str, given: object) -> None:
        """Register something for this process.

        The same definition may be registered again, as happens when a cell of a notebook is run
        again.

        Raises:
            UserError: the name is taken, or the object cannot be used.
        """
        accepted = self._accept(name, given)
        before = self._registered.get(name)
        again = before is not None and _definition(before[0]) == _definition(given) is not None
        if not again and (name in self._built_in() or name in self.names()):
            raise UserError(f"{self._kind} {name!r}: the name is taken; choose another one")
        self._registered[name] = given, accepted

    def names(self) -> set[str]:
        """Return the names of what users added."""
        return {*self._registered, *self._declared()}

    def find(self, name: str):
        """Return what a name stands for; None where no user added it.

        Raises:
            UserError: it is declared by several packages, or by one that is broken.
        """
        if name in self._registered:
            return self._registered[name][1]
        points = self._declared().get(name)
        if points is None:
            return None
        if len(points) > 1:
            packages = " and ".join(sorted(map(_package, points)))
            raise UserError(
                f"{self._kind} {name!r} is declared by the packages {packages}; uninstall one"
            )
        (point,) = points
        if point not in self._loaded:
            try:
                self._loaded[point] = self._accept(name, point.load())
            except (Exception, SystemExit) as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise UserError(
                    f"{self._kind} {name!r} of the package {_package(point)} cannot be used "
                    f"({point.value}: {reason[:300]}); repair that package or uninstall it"
                ) from error
        return self._loaded[point]

    def origin(self, name: str) -> str:
        """Return where something that a user added comes from, for tables."""
        if name in self._registered:
            return "registered"
        return ", ".join(sorted(map(_package, self._declared()[name])))

    def _declared(self) -> dict[str, list[EntryPoint]]:
        """Return the entry points by name, without those whose name is the package's own."""
        points = dict(_entry_points(self._group, tuple(sys.path)))
        for name in points.keys() & {*self._built_in()}:
            packages = " and ".join(sorted(map(_package, points.pop(name))))
            warnings.warn(
                f"{self._kind} {name!r} of the package {packages} is left out: rsfusion_jax has "
                "one of this name",
                stacklevel=3,
            )
        return points


@functools.lru_cache
def _entry_points(group: str, places: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """Entry points of a group by name; `places`, where Python looks for packages, is the key."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "?"


def _definition(given: object) -> tuple[str, str] | None:
    """Module and name under which a class was written; None for other objects."""
    return (given.__module__, given.__qualname__) if isinstance(given, type) else None
