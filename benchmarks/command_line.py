"""What the command lines of all benchmarks have in common."""

import argparse
from pathlib import Path

from benchmarks.record import RESULTS


def parser(doc: str, results: str = "") -> argparse.ArgumentParser:
    """Make a parser whose help is the benchmark's docstring.

    Args:
        doc: `__doc__` of the benchmark.
        results: name of its file in benchmarks/results, the default of `--out`; no `--out` without.
    """
    result = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if results:
        result.add_argument("--out", type=Path, default=RESULTS / results, help="results file")
    return result


def words(text: str) -> list[str]:
    """Split `a,b` into its words."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """Split `1,2` into its integers."""
    return [int(word) for word in words(text)]
