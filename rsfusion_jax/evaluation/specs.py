"""The entries of `--methods`: labels, networks, and paths of any spelling."""

import dataclasses
import os
from pathlib import Path

from rsfusion_jax.models import list_models


@dataclasses.dataclass(frozen=True)
class Spec:
    """The parts of an entry `[LABEL=][NETWORK:]NAME`.

    Attributes:
        label: label that the user chose; empty if there is none.
        network: name of a network in front of a file of PyTorch weights; empty if there is none.
        name: the rest: a path, or the name of a classical method.
    """

    label: str
    network: str
    name: str

    @property
    def path(self) -> Path:
        """The path, with `~` replaced by the home folder."""
        return expand(self.name)


def parse_spec(text: str) -> Spec:
    """Take an entry of `--methods` apart; a path that exists is taken as it is."""
    if os.path.exists(expand(text)):
        return Spec("", "", text)
    label, equals, rest = text.partition("=")
    if not equals or not label.strip() or "/" in label or ":" in label:
        label, rest = "", text
    network, colon, path = rest.partition(":")
    if colon and network.strip() in list_models():
        return Spec(label.strip(), network.strip(), path)
    return Spec(label.strip(), "", rest.strip())


def split_specs(text: str) -> list[str]:
    """Split the list of `--methods` at its commas, except those in paths that exist."""
    pieces, specs = text.split(","), []
    while pieces:
        # As many pieces as together are an existing path; one alone may be a classical method.
        for count in range(len(pieces), 0, -1):
            spec = ",".join(pieces[:count]).strip()
            if count == 1 or os.path.exists(parse_spec(spec).path):
                break
        specs.append(spec)
        del pieces[:count]
    return [spec for spec in specs if spec]


def expand(path: str | Path) -> Path:
    """Replace a leading `~`, which a shell leaves as it is inside an argument."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no user of that name
        return Path(path)
