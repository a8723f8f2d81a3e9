"""The graph of imports: no circle of files, and none of the folders and files that lie side by side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.import_graph import (
    Graph,
    all_imports,
    circle_of,
    circles_of_folders,
    graph_of,
    imports_at_run_time,
    neighbours,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def imported() -> Graph:
    """The modules of this repository that each of them imports when it runs."""
    return graph_of(ROOT, imports_at_run_time)


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
    graph = graph_of(ROOT, all_imports)
    assert "workers.active_job" in graph["workers.job_result"], "an import for type checkers is seen"
    assert circle_of(graph) == []


def test_no_folders_import_each_other(imported: Graph) -> None:
    """Of two folders or files that lie side by side, at most one imports from the other."""
    assert circles_of_folders(imported) == {}
