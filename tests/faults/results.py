"""``docs/fault-results.md`` from what ``make faults`` and ``make soak`` wrote.

python -m tests.faults.results build/faults [build/soak/summary.json] > docs/fault-results.md
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from tests.faults.checker.check import EXPORTED_SIGNATURES
from tests.faults.run import Report
from tests.faults.soak import Soaked
from tests.faults.summary import KindSummary, Summary, summary_of

HEAD = """\
# What faults do

Written by `python -m tests.faults.results`; do not edit. `make faults SEEDS=1-{seeds}` runs the seeds again, `make soak`
the soak. How: [0022](adr/0022-faults-by-seed-judged-by-histories.md); each fault is a function in
`tests/faults/injections/*_faults.py`.
"""

OPERATIONS = (
    ("submitted", "submits that ended"),
    ("answered", "answers to clients, and results read again"),
    ("claimed", "claims of a job"),
    ("commit", "commits of a job"),
    ("C_Sign", "operations of the HSM"),
    ("record", "records of write-ahead logs"),
    ("export", "exports of tenants' records"),
    (EXPORTED_SIGNATURES, "signatures in these exports, with the client signatures over their envelopes"),
)


def page(summary: Summary, soaked: Soaked | None) -> str:
    """The page, as Markdown."""
    parts = [HEAD.format(seeds=summary.seeds), _seeds(summary), _kinds(summary.kinds)]
    return "\n".join(parts + ([_soak(soaked)] if soaked else []))


def _seeds(summary: Summary) -> str:
    checked = ", ".join(
        f"{summary.operations[name]:,} {what}" for name, what in OPERATIONS if name in summary.operations
    )
    failed = len(summary.failed) + len(summary.broken)
    verdict = "none broke a rule" if not failed else f"{failed} failed"
    return (
        f"## Seeds\n\n{summary.seeds} seeded runs, {summary.injections:,} faults: {verdict}. Checked: {checked}.\n"
        f"Token files put back that a killed login had left empty (SoftHSM): {summary.mended_tokens}.\n"
    )


def _kinds(kinds: list[KindSummary]) -> str:
    rows = [
        f"| `{kind.kind}` | {kind.injections} | {kind.promised_s:g} | {_number(kind.median_s)} | {_number(kind.worst_s)} |"
        for kind in kinds
    ]
    return "\n".join(
        [
            "## Faults and recovery\n",
            "Recovery: from the heal until the last job that was open then has its answer, on a two-core machine that other",
            "work kept busy, with leases of 2 s; of faults that came alone (some came in pairs). Promised: on an idle machine.\n",
            "| fault | injected | promised, s | median, s | worst, s |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _soak(soaked: Soaked) -> str:
    rows = [
        f"| {f.name} | {f.first:g} | {f.last:g} | {f.per_hour:+g} | {f.largest:g} | {f.word} |"
        for f in soaked.flatness
    ]
    return "\n".join(
        [
            "## Soak\n",
            (
                f"{soaked.minutes:g} minutes, {soaked.rounds} rounds, {sum(soaked.injections.values())} faults, "
                f"{len(soaked.violations)} violations. Slope after the warm-up (Theil and Sen):\n"
            ),
            "| what | at first | at last | an hour | at most | |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> int:
    """Read the reports, write the page."""
    files = [file for file in Path(sys.argv[1]).glob("*.json") if file.stem.isdecimal()]
    reports = [msgspec.json.decode(file.read_bytes(), type=Report) for file in files]
    if not reports:
        sys.stderr.write(f"{sys.argv[1]}: a folder with the reports of seeds is needed, and this has none\n")
        return 1
    summary = summary_of(reports, (), seconds=sum(report.seconds for report in reports))
    soaked = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Soaked) if len(sys.argv) > 2 else None
    sys.stdout.write(page(summary, soaked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
