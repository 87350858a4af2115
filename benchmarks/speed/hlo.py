"""What a compiled program does when it runs, counted in its HLO text with all loops expanded.

HLO is XLA's own notation of a program. After compilation for a GPU nearly every instruction outside
of a fusion is the start of one kernel, one copy or one call of a library.
"""

import collections
import dataclasses
import functools
import re

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-broadcast",
    "collective-permute",
    "ragged-all-to-all",
    "reduce-scatter",
)
_LIBRARIES = {"cudnn": "cuDNN", "cublas": "cuBLAS", "cub": "CUB", "cusolver": "cuSOLVER"}
_NO_LAUNCH = {
    "after-all",
    "async-done",
    "async-update",
    "bitcast",
    "constant",
    "copy-done",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "recv-done",
    "send-done",
    "tuple",
    *(f"{kind}-done" for kind in COLLECTIVES),
}
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"(?:ROOT )?%?[\w.\-]+ = (.*)")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of one execution on one device.

    Attributes:
        launches: kernels, copies, library calls and collectives that are started.
        collectives: exchanges between devices, by kind.
        libraries: calls of libraries, by library, such as "cuDNN".
        conditionals: decisions between branches; of the branches, the longest is counted.
        unknown_loops: loops whose length is not known when the program is compiled; they are
            counted as if they ran once.
    """

    launches: int = 0
    collectives: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    libraries: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    conditionals: int = 0
    unknown_loops: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, name) + getattr(other, name) for name in _FIELDS))

    def times(self, trips: int) -> "Counts":
        """Return the counts of `trips` executions."""
        return Counts(
            *(
                collections.Counter({kind: trips * number for kind, number in value.items()})
                if isinstance(value, collections.Counter)
                else trips * value
                for value in (getattr(self, name) for name in _FIELDS)
            )
        )


_FIELDS = tuple(field.name for field in dataclasses.fields(Counts))


def count(text: str) -> Counts:
    """Count what a program starts.

    Args:
        text: the compiled program, from `jax.stages.Compiled.as_text`.
    """
    entry, computations = _parse(text)

    @functools.cache
    def of_computation(name: str) -> Counts:
        return sum((of_instruction(*x) for x in computations[name]), Counts())

    def of_instruction(opcode: str, line: str) -> Counts:
        called = functools.partial(_called, line)
        if opcode in _NO_LAUNCH:
            return Counts()
        if opcode == "while":
            trips = _TRIPS.search(line)
            body = sum(map(of_computation, called("body")), Counts(unknown_loops=not trips))
            return body.times(int(trips[1]) if trips else 1)
        if opcode == "conditional":
            names = called("branch_computations", "true_computation", "false_computation")
            branches = [of_computation(name) for name in names]
            return max(branches, key=lambda counts: counts.launches) + Counts(conditionals=1)
        if opcode in ("call", "async-start"):
            return sum(map(of_computation, called("to_apply", "calls")), Counts())
        if opcode == "fusion":  # One kernel, or one call of a library on a slice of an array.
            inside = sum(map(of_computation, called("calls")), Counts())
            return dataclasses.replace(inside, launches=1)
        kind = opcode.removesuffix("-start")
        return Counts(
            launches=1,
            collectives=collections.Counter([kind] if kind in COLLECTIVES else []),
            libraries=collections.Counter(_libraries(opcode, line)),
        )

    return of_computation(entry)


def _parse(text: str) -> tuple[str, dict[str, list[tuple[str, str]]]]:
    """Return the name of the entry, and (opcode, line) of all instructions by computation."""
    entry, computations, instructions = "", {}, []
    for line in map(str.strip, text.splitlines()):
        if head := _HEAD.match(line):
            instructions = computations[head[2]] = []
            if head[1]:
                entry = head[2]
        elif instruction := _INSTRUCTION.match(line):
            rest = _after_shape(instruction[1])
            instructions.append((rest[: rest.index("(")], rest))
    return entry, computations


def _after_shape(text: str) -> str:
    """Drop the shape before an opcode: `f32[2]{0}` or `(f32[2]{0}, (s32[]))`."""
    if not text.startswith("("):
        return text.partition(" ")[2]
    depth = 0
    for position, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return text[position + 1 :].lstrip()
    raise ValueError(f"no end of the shape in {text}")


def _called(line: str, *attributes: str) -> list[str]:
    """Return the names of the computations in some attributes of an instruction."""
    names = []
    for attribute in attributes:
        for several, one in re.findall(rf"\b{attribute}=(?:\{{([^}}]*)\}}|%?([\w.\-]+))", line):
            names += [name.strip().removeprefix("%") for name in (several or one).split(",")]
    return names


def _libraries(opcode: str, line: str) -> list[str]:
    if opcode == "fft":
        return ["cuFFT"]
    target = _TARGET.search(line) if opcode == "custom-call" else None
    if target is None:
        return []
    name = re.split(r"[^a-z]", target[1].lower().lstrip("_"))[0]
    return [_LIBRARIES.get(name, target[1])]
