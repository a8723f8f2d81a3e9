"""The graph of imports: no circle of files, and none of the folders and files that lie side by side."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("queueing", "workers", "bench", "ops", "tests")

COMMAND_THAT_RUNS_THE_BENCHMARK = "workers.cli.processes.bench"
"""The one module of workers that imports bench, inside the command; bench starts workers."""

Graph = Mapping[str, set[str]]


def module_name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
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


@pytest.fixture(scope="module")
def imported() -> Graph:
    """The modules of this repository that each of them imports when it runs."""
    return graph_of(imports_at_run_time)


def graph_of(imports: Callable[[ast.AST], Iterator[ast.Import | ast.ImportFrom]]) -> Graph:
    """For each module of this repository, those that are in its imports."""
    files = {module_name(file): file for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
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


def test_a_circle_is_found() -> None:
    """A circle is named by its members, of files as of folders; one import alone is none."""
    graph = {"a.one": {"b.one"}, "b.two": {"a.two"}}
    assert circle_of(graph) == []
    assert set(circle_of(neighbours(graph)[""])) == {"a", "b"}
    assert set(circle_of({"one": {"two"}, "two": {"one"}})) == {"one", "two"}


def test_no_files_import_each_other(imported: Graph) -> None:
    """The imports of all files can be put into one order, those inside functions included."""
    assert "queueing.errors" in imported["queueing.protocol.envelope"]
    assert circle_of(imported) == []


def test_no_files_name_types_of_each_other() -> None:
    """The same holds with the imports that only type checkers read: of two files, one knows the other."""
    graph = graph_of(all_imports)
    assert "workers.active_job" in graph["workers.job_result"], "an import for type checkers is seen"
    assert circle_of(graph) == []


def test_no_folders_import_each_other(imported: Graph) -> None:
    """Of two folders or files that lie side by side, at most one imports from the other."""
    graph = dict(imported)
    graph[COMMAND_THAT_RUNS_THE_BENCHMARK] = {
        other for other in graph[COMMAND_THAT_RUNS_THE_BENCHMARK] if not other.startswith("bench")
    }
    assert {
        folder: circle for folder, inside in neighbours(graph).items() if (circle := circle_of(inside))
    } == {}
