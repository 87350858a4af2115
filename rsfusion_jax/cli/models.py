"""`rsfusion models`: the table of networks."""

import argparse

from rsfusion_jax.cli.parser import Parser

HELP = "the networks: where they were published, their sizes and costs"


def make_parser(prog: str) -> Parser:
    """Build the command's parser."""
    return Parser(prog, "", description=HELP)


def run(arguments: argparse.Namespace) -> None:
    """Print every network: paper, year, tasks, parameters and their published count, cost."""
    from rich.console import Console
    from rich.table import Table

    from rsfusion_jax.models import list_models
    from rsfusion_jax.models.catalogue import COSTS, PUBLICATIONS

    table = Table()
    for name in ("name", "published in", "year", "tasks", "parameters", "GMAC"):
        table.add_column(name, justify="right" if name in ("parameters", "GMAC") else "left")
    notes = [
        "Parameters and GMAC are those of 8 bands, one guide band and ratio 4. GMAC: billions of "
        "multiplications in the convolutions and matrix products for a PAN of 64 x 64 pixels."
    ]
    for name in list_models():
        if name not in PUBLICATIONS or name not in COSTS:
            table.add_row(name, *_own_row(name, notes))
            continue
        publication = PUBLICATIONS[name]
        parameters, cost = COSTS[name]
        row = (publication.venue, str(publication.year), ", ".join(publication.tasks))
        table.add_row(name, *row, f"{parameters:,}", f"{cost / 1e9:.3f}")
        if publication.why:
            theirs = f"the authors' {publication.parameters}: " if publication.parameters else ""
            notes.append(f"{name}: {theirs}{publication.why}.")
    console = Console()
    console.print(table)
    for note in notes:
        console.print(note, highlight=False)


def _own_row(name: str, notes: list[str]) -> tuple[str, ...]:
    """The cells of a network of the user's own; what is wrong with it is added to the notes."""
    from rsfusion_jax.errors import UserError
    from rsfusion_jax.models import own_models
    from rsfusion_jax.models.cost import size_and_cost

    origin = own_models.origin(name) if name in own_models.names() else "-"
    try:
        parameters, cost = size_and_cost(name, 8)
    except UserError as error:
        notes.append(str(error))
    except Exception as error:
        notes.append(f"{name}: does not run at 8 bands and ratio 4 ({type(error).__name__})")
    else:
        return origin, "-", "-", f"{parameters:,}", f"{cost / 1e9:.3f}"
    return origin, *("-",) * 4
