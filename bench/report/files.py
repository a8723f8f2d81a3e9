"""The two files of a report: report.json carries everything, report.html shows it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.report.data import Report
from bench.report.page import render_page


def write_report(report: Report, directory: Path) -> tuple[Path, Path]:
    """Write report.json and report.html there, replacing older ones; returns both paths."""
    directory.mkdir(parents=True, exist_ok=True)
    as_json, as_html = directory / "report.json", directory / "report.html"
    as_json.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    as_html.write_text(render_page(report), encoding="utf-8")
    return as_json, as_html


def read_report(path: Path) -> Report:
    """A report.json of this schema, for comparing runs."""
    return msgspec.json.decode(path.read_bytes(), type=Report)
