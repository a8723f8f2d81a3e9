"""The graph of imports: its circles of files, and of the folders and files that lie side by side."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

PACKAGES: Final = ("queueing", "workers", "bench", "ops", "tests")

COMMAND_THAT_RUNS_THE_BENCHMARK: Final = "workers.cli.processes.bench"
"""The one module of workers that imports bench, inside the command; bench starts workers."""

Graph = Mapping[str, set[str]]


def module_name(root: Path, file: Path) -> str:
    """Name by which it is imported."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_run_time(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports under ``node``, inside functions as well, but for those that only type checkers read."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports_at_run_time(other)
        else:
            yield from imports_at_run_time(child)


def all_imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports under ``node``, those for type checkers included."""
    return (child for child in ast.walk(node) if isinstance(child, ast.Import | ast.ImportFrom))


def graph_of(root: Path, imports: Callable[[ast.AST], Iterator[ast.Import | ast.ImportFrom]]) -> Graph:
    """For each module below ``root``, those that are in its imports."""
    files = {module_name(root, file): file for package in PACKAGES for file in (root / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        found: set[str] = set()
        for statement in imports(ast.parse(file.read_text())):
            if isinstance(statement, ast.Import):
                found.update(alias.name for alias in statement.names)
            elif statement.module:
                for alias in statement.names:
                    inner = f"{statement.module}.{alias.name}"
                    found.add(inner if inner in files else statement.module)
        graph[name] = found & files.keys() - {name}
    return graph


def circle_of(graph: Graph) -> list[str]:
    """One circle of the graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(node) for node in error.args[1]]
    return []


def neighbours(graph: Graph) -> dict[str, dict[str, set[str]]]:
    """For each folder, the imports among the folders and files in it."""
    folders: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name, imported in graph.items():
        for other in imported:
            ours, theirs = name.split("."), other.split(".")
            same = 0
            while same < min(len(ours), len(theirs)) and ours[same] == theirs[same]:
                same += 1
            if same < min(len(ours), len(theirs)):
                folders[".".join(ours[:same])][ours[same]].add(theirs[same])
    return folders


def circles_of_folders(graph: Graph) -> dict[str, list[str]]:
    """Folder -> circle among the folders and files in it, where there is one."""
    known = dict(graph)
    known[COMMAND_THAT_RUNS_THE_BENCHMARK] = {
        other for other in known.get(COMMAND_THAT_RUNS_THE_BENCHMARK, ()) if not other.startswith("bench")
    }
    return {folder: circle for folder, inside in neighbours(known).items() if (circle := circle_of(inside))}
