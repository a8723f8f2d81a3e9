"""``ops/prometheus/consoles/*.html``: the same dashboards as console pages of Prometheus.

A page queries Prometheus' HTTP API and draws the result itself, so it works with every version of Prometheus. Prometheus
reads the page as a Go template, so inserted text must not contain two opening braces.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ops.generate.dashboards.boards import BOARDS

if TYPE_CHECKING:
    from ops.generate.dashboards.panels import Board, Panel

FOLDER: Final = "ops/prometheus/consoles"
_PAGE: Final = Path(__file__).with_name("console.html")
_LABEL: Final = re.compile(r"\{\{(\w+)\}\}")


def files() -> dict[str, str]:
    """Text of each page, by path; ``index.html`` is the overview."""
    pages = {f"{FOLDER}/sigmill-{board.name}.html": _page(board) for board in BOARDS}
    return pages | {f"{FOLDER}/index.html": _page(BOARDS[0])}


def _page(board: Board) -> str:
    shown = {
        "name": board.name,
        "variables": [{"label": variable.label, "series": variable.series} for variable in board.variables],
        "rows": [[title, [_panel(panel) for panel in panels]] for title, panels in board.rows.items()],
    }
    boards = [{"name": other.name, "title": other.title.partition(" / ")[2]} for other in BOARDS]
    values = {"TITLE": board.title, "BOARDS": json.dumps(boards), "BOARD": json.dumps(shown, indent=1)}
    text = _PAGE.read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _panel(panel: Panel) -> dict[str, object]:
    return {
        "title": panel.title,
        "description": panel.description,
        "unit": panel.unit,
        "shape": panel.shape,
        "queries": [{"expr": q.expr, "legend": _LABEL.sub(r"%\1%", q.legend)} for q in panel.queries],
    }
