"""The graph of imports: its circles of files, and of the folders and files that lie side by side."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

from tests.house.sources import tree_of

PACKAGES: Final = ("queueing", "workers", "bench", "ops", "tests")

COMMAND_THAT_RUNS_THE_BENCHMARK: Final = "workers.cli.processes.bench"
"""The one module of workers that imports bench, inside the command; bench starts workers."""

_BLOCKS: Final = ("body", "orelse", "handlers", "finalbody", "cases")
"""Fields of a statement with further statements."""

Graph = Mapping[str, set[str]]


def module_name(root: Path, file: Path) -> str:
    """Name by which it is imported."""
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_run_time(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports, inside functions as well, but for those that only type checkers read."""
    return _imports(tree.body, for_types=False)


def all_imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """All imports, those for type checkers included."""
    return _imports(tree.body, for_types=True)


def _imports(statements: Iterable[ast.AST], *, for_types: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports in these statements and in those that they hold. Expressions, most of a tree, hold none."""
    for statement in statements:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
            continue
        hidden = not for_types and isinstance(statement, ast.If) and _is_for_types(statement.test)
        for name in _BLOCKS:
            if not (hidden and name == "body"):
                yield from _imports(getattr(statement, name, ()), for_types=for_types)


def _is_for_types(test: ast.expr) -> bool:
    return any(getattr(node, "id", getattr(node, "attr", "")) == "TYPE_CHECKING" for node in ast.walk(test))


def graph_of(root: Path, imports: Callable[[ast.Module], Iterator[ast.Import | ast.ImportFrom]]) -> Graph:
    """For each module below ``root``, those that are in its imports."""
    files = {module_name(root, file): file for package in PACKAGES for file in (root / package).rglob("*.py")}
    graph: dict[str, set[str]] = {}
    for name, file in files.items():
        found: set[str] = set()
        for statement in imports(tree_of(file)):
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
