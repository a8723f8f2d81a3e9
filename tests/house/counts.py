"""Counts of a tree that its rules bound: ``python -m tests.house.counts [ROOT]`` prints them, of an older tree too."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.house.callables import callable_parameters
from tests.house.import_graph import circle_of, circles_of_folders, graph_of, imports_at_run_time
from tests.house.sources import RELATIVE, constructors_of, docstring_heads, modules_in, sources_of

LONG_LINES = 300


def counts(root: Path) -> dict[str, str]:
    """Name of each count -> the count, with the place where that helps. The circles are of all code, the rest as named."""
    files = sources_of(root)
    shipped = sources_of(root, ["queueing", "workers"])
    folders = {file.parent: len(modules_in(file.parent)) for file in files}
    largest = max(folders, key=lambda folder: folders[folder])
    heads = [head for file in files for head in docstring_heads(file)]
    riddles = sum(1 for head in heads if RELATIVE.match(head))
    lines, constructor = max(
        ((made.end_lineno or 0) - made.lineno + 1, f"{file.relative_to(root)} {owner.name}")
        for file in shipped
        for owner, made in constructors_of(file)
    )
    graph = graph_of(root, imports_at_run_time)
    return {
        "modules in the largest folder": f"{folders[largest]} ({largest.relative_to(root)})",
        "folders with more than 15 modules": str(sum(1 for count in folders.values() if count > 15)),
        "modules of more than 300 lines": ", ".join(long_modules(root)) or "0",
        "callables that constructors take (without bench)": str(len(callable_parameters(root, shipped))),
        "docstring heads with a relative clause": f"{riddles} of {len(heads)} ({riddles / len(heads):.1%})",
        "lines of the longest constructor (without bench)": f"{lines} ({constructor})",
        "circle of files": ", ".join(circle_of(graph)) or "0",
        "circles of folders": str(len(circles_of_folders(graph))),
    }


def long_modules(root: Path) -> list[str]:
    """Modules of the packages that have more than 300 lines, with the number."""
    lengths = {file: len(file.read_text().splitlines()) for file in sources_of(root)}
    return [f"{file.relative_to(root)} {length}" for file, length in lengths.items() if length > LONG_LINES]


if __name__ == "__main__":
    for name, count in counts(Path(*sys.argv[1:]).resolve()).items():
        sys.stdout.write(f"{name}: {count}\n")
