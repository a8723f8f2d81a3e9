"""Tests of the dashboards: existing series, titles, and both outputs (Grafana and console pages)."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ops.generate.dashboards import consoles, grafana
from ops.generate.dashboards.boards import BOARDS
from ops.generate.dashboards.panels import Board, Panel, Query
from ops.generate.prometheus.alerts import symptoms
from ops.generate.prometheus.clock import REAL
from tests.support.monitoring.promql import exposed, known, names_in
from tests.support.tools import tool

PANELS = [
    pytest.param(board, panel, id=f"{board.name}-{panel.title}") for board in BOARDS for panel in board.panels
]
MOST_PANELS = 25


def filled(expr: str) -> str:
    return re.sub(r"\$(tenant|token|instance)", ".*", expr).replace("$__rate_interval", "1m")


def test_the_six_dashboards_have_addresses_and_few_panels() -> None:
    """The names of the dashboards are stable, since bookmarks and alerts contain them."""
    assert [board.name for board in BOARDS] == ["overview", "tenant", "hsm", "queue", "worker", "edge"]
    assert all(len(board.panels) <= MOST_PANELS for board in BOARDS)


@pytest.mark.parametrize("board, panel", PANELS)
def test_a_panel_says_what_it_shows(board: Board, panel: Panel) -> None:
    """A panel has a description, and a title that is unique on its board."""
    assert panel.description.endswith(".")
    assert [other.title for other in board.panels].count(panel.title) == 1


@pytest.mark.parametrize("board, panel", PANELS)
def test_a_panel_asks_for_series_that_exist(board: Board, panel: Panel) -> None:
    """A query uses existing series and variables of its board.

    Its legend uses labels that the query names, or that most series have.
    """
    variables = {variable.label for variable in board.variables}
    for query in panel.queries:
        assert names_in(query.expr) <= known()
        assert set(re.findall(r"\$([a-z]+)", query.expr)) <= variables
        for label in re.findall(r"\{\{(\w+)\}\}", query.legend):
            assert label in query.expr or label in variables | {"instance", "token", "class", "objective"}


@pytest.mark.parametrize("board, panel", PANELS)
def test_a_counter_is_asked_for_its_rate(board: Board, panel: Panel) -> None:
    """A counter is queried by its rate or increase: its value depends on the age of the process."""
    for query in panel.queries:
        for counter in re.findall(r"\bsigmill_[a-z_]+(?:_total|_bucket|_sum|_count)\b", query.expr):
            assert re.search(rf"(?:rate|increase)\({counter}\b", query.expr), query.expr


def test_promtool_reads_every_query(tmp_path: Path) -> None:
    """promtool accepts every query after its variables are replaced."""
    exprs = [filled(query.expr) for board in BOARDS for panel in board.panels for query in panel.queries]
    rules = [{"record": f"q:{'a' * (i + 1)}", "expr": expr} for i, expr in enumerate(exprs)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_most_metrics_are_on_a_dashboard_or_in_an_alert() -> None:
    """Every metric is on a dashboard or in an alert, except a few for manual queries."""
    asked = names_in(" ".join(q.expr for board in BOARDS for panel in board.panels for q in panel.queries))
    asked |= names_in(" ".join(alert.expr for alert in symptoms(REAL)))
    asked |= {name + suffix for name in ("sigmill_objective_jobs_total",) for suffix in ("",)}
    base = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed()}
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    assert len(base - seen) <= 8, base - seen


def panels_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("path", sorted(grafana.files()))
def test_grafanas_json_is_complete(path: str) -> None:
    """The JSON follows Grafana's linter: selectable data source, units, no fixed ids, not editable, variables by time range."""
    document = json.loads(grafana.files()[path])
    assert Path(path).stem == document["uid"]
    assert document["editable"] is False
    assert "id" not in document
    variables = {variable["name"]: variable for variable in document["templating"]["list"]}
    assert variables.pop("datasource")["type"] == "datasource"
    assert all(variable["refresh"] == 2 for variable in variables.values())
    for panel in panels_of(document):
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert [target["refId"] for target in panel["targets"]] == [*"AB"][: len(panel["targets"])]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_grafana_and_console_have_the_same_queries(board: Board) -> None:
    document = json.loads(grafana.files()[f"ops/grafana/sigmill-{board.name}.json"])
    drawn = [(t["expr"], t["legendFormat"]) for panel in panels_of(document) for t in panel["targets"]]
    assert [Query(*each) for each in drawn] == [query for panel in board.panels for query in panel.queries]
    page = consoles.files()[f"ops/prometheus/consoles/sigmill-{board.name}.html"]
    for expr, _ in drawn:
        assert json.dumps(expr) in page


@pytest.mark.parametrize("path", sorted(consoles.files()))
def test_a_console_page_holds_one_template_action_and_loads_nothing(path: str) -> None:
    """A console page has only one template action, since Prometheus executes double braces, and loads no other file."""
    page = consoles.files()[path]
    assert re.findall(r"\{\{.*?\}\}", page) == ["{{ pathPrefix }}"]
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=|https?://(?!www\.w3\.org)", page)
    assert "@" not in re.sub(r"@media", "", page)
