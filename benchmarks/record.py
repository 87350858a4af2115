"""Results of benchmarks: rows merged into a JSON file, each with how it was measured, and tables.

A results file is `{"rows": [...]}`. A row is a flat or nested dict; the values under a benchmark's
`keys` say what was measured, so a new measurement of the same thing replaces the old row and leaves
all others. `measured` in a row holds the date, the command, the device, the number of cores and the
versions of packages; rows of older code hold what was recorded then.
"""

import datetime
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def read(path: Path) -> list[dict]:
    """Return the rows of a results file; none where the file does not exist."""
    return json.loads(path.read_text())["rows"] if path.exists() else []


def merge(
    path: Path,
    rows: Iterable[dict],
    keys: Sequence[str],
    *,
    order: Callable[[dict], object] | None = None,
    packages: Sequence[str] = (),
    device: str | None = None,
) -> list[dict]:
    """Stamp rows and put them into a results file, in place of rows with the same keys.

    The file is read again at every call, so that two processes may fill one file in turns.

    Args:
        path: the results file; made where it does not exist.
        rows: new measurements.
        keys: entries that say what was measured; a missing entry counts as None.
        order: sort key of the file's rows; new rows come last without it.
        packages: packages whose versions matter besides `PACKAGES`.
        device: name of the device; JAX's first device by default.

    Returns:
        All rows of the file.
    """
    measured = stamp(packages, device)
    merged = read(path)
    for row in rows:
        what = [row.get(key) for key in keys]
        merged = [old for old in merged if [old.get(key) for key in keys] != what]
        merged.append({**row, "measured": measured})
    if order:
        merged.sort(key=order)
    write(path, merged)
    return merged


def write(path: Path, rows: list[dict]) -> None:
    """Write a results file at once, so that an interrupted benchmark leaves the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    lines = ",\n".join(json.dumps(row) for row in rows)  # a line for each, so that diffs are short
    unfinished.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    unfinished.replace(path)


def stamp(packages: Sequence[str] = (), device: str | None = None) -> dict:
    """Say how something is measured now: date, command, device, cores, versions."""
    if device is None:
        import jax  # only here: a benchmark that measures in child processes leaves them the device

        device = jax.devices()[0].device_kind
    return {
        "date": datetime.date.today().isoformat(),
        "command": command(),
        "device": device,
        "cores": cores(),
        "versions": versions((*PACKAGES, *packages)),
    }


def command() -> str:
    """Return the command line of this process; of folders elsewhere only the last part is said."""
    spec = sys.modules["__main__"].__spec__
    program = f"-m {spec.name}" if spec else Path(sys.argv[0]).name
    elsewhere = r"(^|[=:,])(?:~|\.\.)?/[^=:,]*?([^/=:,]*)/?(?=$|[=:,])"
    arguments = [re.sub(elsewhere, r"\1\2", argument) for argument in sys.argv[1:]]
    return " ".join(["python", program, *arguments])


def cores() -> int:
    """Count the CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of Python and of those packages that are installed."""
    installed = {"python": platform.python_version()}
    for package in packages:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Format a Markdown table; None becomes a dash."""
    lines = [columns, ["---"] * len(columns)]
    lines += [["-" if cell is None else cell for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
