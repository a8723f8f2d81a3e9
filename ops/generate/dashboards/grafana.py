"""``ops/grafana/*.json``: the dashboards, written with grafana-foundation-sdk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableRefresh,
)

from ops.generate.dashboards.boards import BOARDS

if TYPE_CHECKING:
    from ops.generate.dashboards.panels import Board, Panel, Unit

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_UNITS: Final[dict[Unit, str]] = {"digests": "short", "bool": "short"}
_LINES: Final = (8, 8)
_STAT: Final = (4, 3)
"""Height and width, in Grafana's grid."""


def files() -> dict[str, str]:
    """Text of each dashboard, by path."""
    return {f"ops/grafana/sigmill-{board.name}.json": _json(board) for board in BOARDS}


def _json(board: Board) -> str:
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"sigmill-{board.name}")
        .tags(["sigmill"])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("utc")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .link(
            dashboard.DashboardLink("Sigmill")
            .type(DashboardLinkType.DASHBOARDS)
            .tags(["sigmill"])
            .keep_time(True)
        )
    )
    for variable in board.variables:
        made = made.with_variable(
            dashboard.QueryVariable(variable.label)
            .datasource(_SOURCE)
            .query(f"label_values({variable.series}, {variable.label})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .include_all(True)
            .all_value(".*")
            .multi(True)
        )
    for row, panels in board.rows.items():
        made = made.with_row(dashboard.Row(row))
        for panel in panels:
            made = made.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _panel(panel: Panel) -> timeseries.Panel | stat.Panel:
    if panel.shape == "stat":
        height, width = _STAT
        number = (
            stat.Panel()
            .graph_mode(BigValueGraphMode.AREA)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )
        drawn: timeseries.Panel | stat.Panel = number
    else:
        height, width = _LINES
        drawn = timeseries.Panel().min(0).fill_opacity(8)
    drawn = (
        drawn.title(panel.title)
        .description(panel.description)
        .unit(_UNITS.get(panel.unit, panel.unit))
        .datasource(_SOURCE)
        .height(height)
        .span(width)
    )
    for i, query in enumerate(panel.queries):
        drawn = drawn.with_target(
            prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + i))
        )
    return drawn
