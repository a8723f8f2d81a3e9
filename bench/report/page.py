"""report.html: one file without scripts or links, readable in light and dark, thresholds first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final, TypeVar

from bench.report.data import Growth, LatencyPoint, Report, Row, Threshold, number
from bench.report.plots import Bar, Line, bar_plot, line_plot

# Okabe and Ito's palette, which people with colour-blindness can tell apart; lighter in the dark.
STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #5c6670; --grid: #e3e7eb;
  --card: #f6f8fa; --good: #1a7f37; --bad: #b42318;
  --s0: #0072b2; --s1: #d55e00; --s2: #009e73; --s3: #a8518a; --s4: #b07d00; --s5: #3b9bd1; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e6e9ec; --soft: #9aa5b1;
  --grid: #2c333b; --card: #1c2229; --good: #4fc36b; --bad: #ff7b6b;
  --s0: #4aa8e0; --s1: #ff8a3d; --s2: #2ec99b; --s3: #e39ac8; --s4: #f0b429; --s5: #8ccbf2; } }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; font-weight: 600; }
p.soft, .soft { color: var(--soft); } p { margin: .25rem 0 .75rem; }
.headline { font-size: 1.15rem; padding: .9rem 1.1rem; border-left: 4px solid var(--s0); background: var(--card); }
.refused { border-left-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--grid); vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .85rem; } td.n, th.n { text-align: right; }
.ok { color: var(--good); font-weight: 600; } .missed { color: var(--bad); font-weight: 600; }
svg { width: 100%; height: auto; } svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg .tick, svg .name { fill: var(--soft); } svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--soft); }
svg .ceiling { stroke: var(--ink); stroke-dasharray: 4 3; } svg rect.bar { fill: var(--s0); }
svg rect.missed { fill: var(--bad); } svg text.inside { fill: var(--paper); font-weight: 600; }
svg .bound { stroke: var(--ink); stroke-width: 2; } svg .line { fill: none; stroke-width: 2; }
""" + "".join(
    f"svg .line.s{i} {{ stroke: var(--s{i}); }} svg .dot.s{i}, svg text.s{i} {{ fill: var(--s{i}); }}\n"
    for i in range(6)
)
NONE: Final = "&ndash;"
_T = TypeVar("_T")
PERCENTILES: Final = ("p50", "p99", "p999")


def render_page(report: Report) -> str:
    """The whole page."""
    sections = [
        _head(report),
        _thresholds(report.thresholds),
        _throughput(report.rows),
        _latency(report.latency),
        _growth(report.growth),
        _paragraphs("Capacity", report.plan),
        _machine(report),
        _paragraphs("Notes", report.notes),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Sigmill bench, {escape(report.mode)}</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body></html>\n"
    )


def _head(report: Report) -> str:
    met = sum(threshold.ok for threshold in report.thresholds)
    verdict = "ok" if report.ok else "missed"
    if report.headline is not None:
        headline = f'<p class="headline">{escape(report.headline)}</p>'
    else:
        reason = escape(report.headline_refused or "")
        headline = f'<p class="headline refused"><b>No headline.</b> {reason}</p>'
    return (
        f"<h1>Sigmill bench</h1><p class=soft>{escape(report.mode)} run, {escape(report.started_at)},"
        f" {report.seconds:.0f} s, {escape(report.machine.cpu_model)}, {report.machine.cores} cores ·"
        f' <span class="{verdict}">{met} of {len(report.thresholds)} thresholds met</span></p>{headline}'
    )


def _thresholds(thresholds: Sequence[Threshold]) -> str:
    rows = [
        (
            f'<span class="{"ok" if t.ok else "missed"}">{"met" if t.ok else "missed"}</span>',
            escape(t.name) + (f'<br><span class="soft">{escape(t.note)}</span>' if t.note else ""),
            escape(f"{number(t.value)} {t.unit if t.value is not None else ''}"),
            escape(f"{t.sense} {number(t.bound)} {t.unit}"),
        )
        for t in sorted(thresholds, key=lambda t: t.ok)  # what was missed comes first
    ]
    return "<h2>Thresholds</h2>" + _table(["", "what", "measured#", "bound#"], rows) if rows else ""


def _throughput(rows: Sequence[Row]) -> str:
    if not rows:
        return ""
    bars = [
        Bar(
            label=_row_name(row),
            detail=_of_ceiling(row),
            share=row.share_of_ceiling,
            bound=row.bound,
        )
        for row in rows
    ]
    cells = [
        (
            escape(row.scenario),
            escape(row.key_kind or row.algorithm),
            str(row.digests_per_job),
            number(row.signatures_per_s),
            number(row.module_ceiling_per_s) if row.module_ceiling_per_s else NONE,
            f"{row.share_of_ceiling:.0%}" if row.share_of_ceiling is not None else NONE,
            *(number(value) for value in _split(row)),
            "yes" if row.verified else "no",
            escape(row.note),
        )
        for row in rows
    ]
    head = ["scenario", "key", "per job#", "signatures/s#", "ceiling/s#", "share#"]
    split = ["client us#", "redis us#", "worker us#", "lane us#", "verified", ""]
    return (
        "<h2>Throughput against the module's ceiling</h2>"
        '<p class="soft">The ceiling is the best that the same module does on this machine in the same run,'
        " C or Python, any number of threads and processes. A tick across a bar is its bound.</p>"
        + bar_plot(bars, "throughput as a share of the module's ceiling")
        + _table([*head, *split], cells)
    )


def _latency(points: Sequence[LatencyPoint]) -> str:
    if not points:
        return ""
    parts = [
        "<h2>Latency under open-loop load</h2>",
        '<p class="soft">From the scheduled start of each request to its verified result.</p>',
    ]
    for scenario, group in _grouped(points, lambda point: f"{point.scenario} · {point.algorithm}"):
        ordered = sorted(group, key=lambda point: point.load_share)
        lines = [
            Line(
                name=name.replace("p999", "p99.9"),
                points=[
                    (100 * point.load_share, max(getattr(point.latency, f"{name}_ms"), 1e-3))
                    for point in ordered
                ],
            )
            for name in PERCENTILES
        ]
        plot = line_plot(lines, scenario, x_label="% of capacity", y_label="ms", log_y=True)
        cells = [
            (
                f"{point.load_share:.0%}",
                number(point.offered_per_s),
                number(point.answered_per_s),
                *(number(getattr(point.latency, f"{name}_ms")) for name in (*PERCENTILES, "max")),
                str(point.latency.count),
                number(point.start_lag_max_ms),
            )
            for point in ordered
        ]
        head = ["load", "offered/s#", "answered/s#", "p50 ms#", "p99 ms#", "p99.9 ms#", "max ms#", "count#"]
        parts += [f"<h3>{escape(scenario)}</h3>", plot, _table([*head, "generator late ms#"], cells)]
    return "".join(parts)


def _growth(growth: Sequence[Growth]) -> str:
    if not growth:
        return ""
    parts = ["<h2>Growth</h2>"]
    for plot, group in _grouped(growth, lambda series: series.plot):
        lines = [
            Line(name=series.series, points=[(point.x, point.y) for point in series.points])
            for series in group
        ]
        drawn = line_plot(
            lines, plot, x_label=group[0].x_label, y_label=group[0].y_label, log_x=group[0].log_x
        )
        said = dict.fromkeys(series.note for series in group if series.note)
        notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in said)
        parts += [f"<h3>{escape(plot)}</h3>", drawn, notes]
    return "".join(parts)


def _machine(report: Report) -> str:
    machine, busy = report.machine, report.busyness
    facts = [
        ("CPU", f"{machine.cpu_model}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB"),
        ("system", f"{machine.system}, Linux {machine.kernel}, Python {machine.python}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))),
        (
            "busy during the run",
            f"our own processes {busy.own_share:.0%} of the machine, others {busy.other_share:.0%}, stolen {busy.steal_share:.0%}",
        ),
    ]
    return "<h2>Machine</h2>" + _table(["", ""], [(escape(a), escape(b)) for a, b in facts])


def _paragraphs(title: str, lines: Sequence[str]) -> str:
    if not lines:
        return ""
    return f"<h2>{title}</h2>" + "".join(f"<p>{escape(line)}</p>" for line in lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of ready HTML; a column whose head ends in # is right-aligned."""
    styles = [' class="n"' if name.endswith("#") else "" for name in head]
    titles = "".join(
        f"<th{style}>{escape(name.rstrip('#'))}</th>" for name, style in zip(head, styles, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{s}>{cell}</td>" for s, cell in zip(styles, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _row_name(row: Row) -> str:
    per_job = f"{row.digests_per_job} per job" if row.digests_per_job > 1 else "1 per job"
    return f"{row.scenario} · {row.key_kind or row.algorithm} · {per_job}"


def _of_ceiling(row: Row) -> str:
    if row.module_ceiling_per_s is None:
        return f"{number(row.signatures_per_s)}/s"
    return f"{number(row.signatures_per_s)} of {number(row.module_ceiling_per_s)}/s"


def _split(row: Row) -> tuple[float, float, float, float]:
    cpu = row.cpu_us_per_signature
    return cpu.client, cpu.redis, cpu.worker, cpu.lane


def _grouped(items: Sequence[_T], key: Callable[[_T], str]) -> list[tuple[str, list[_T]]]:
    """The items by key, in the order in which the keys first appear."""
    groups: dict[str, list[_T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.items())
