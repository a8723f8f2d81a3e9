"""The generated files by path in the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ops.generate.dashboards import consoles, grafana
from ops.generate.pages import cli_page, configuration_page, errors_page, events_page, metrics_page
from ops.generate.prometheus import rules

ROOT: Final = Path(__file__).resolve().parent.parent.parent


def generated() -> dict[str, str]:
    """Text of each generated file, by path."""
    return {
        "docs/reference/metrics.md": metrics_page.page(),
        "docs/reference/errors.md": errors_page.page(),
        "docs/reference/configuration.md": configuration_page.page(),
        "docs/reference/cli.md": cli_page.page(),
        "docs/reference/events.md": events_page.page(),
        **rules.files(),
        **grafana.files(),
        **consoles.files(),
    }
