"""Runs scenarios and makes the report of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from bench.capacity.model import in_words as plan_in_words
from bench.capacity.planning import HEADLINE_DEMANDS, NotMeasured, planned
from bench.measurement.machine import Busyness, BusynessReading, describe
from bench.report.data import Report, Row, at_least, in_words, make_report, number
from bench.report.files import write_report
from bench.scenarios.catalogue import QUICK_ONES, SCENARIOS
from bench.session import Pace, Session, open_session
from queueing.protocol.algorithms import KeyKind

OUT: Final = Path("build/bench")
NOTES: Final = (
    """Throughput rows are without the client's own verification of results (verify_signatures = false): it costs
    the client 25 to 140 us per signature, on a machine that a cluster does not share with its clients.""",
    """Rounds of Sigmill and of the bare module alternate; a share is the median over rounds of the rate against
    the ceiling just before and after. A round is a fixed amount of work, from first submit to last answer.""",
    """Redis round trips are requests that redis-server read (INFO, total_reads_processed): a pipeline counts once, a
    request beyond 16 KiB several times, so this is an upper bound.""",
)


def run(mode: Literal["quick", "full"], pace: Pace, tell: Callable[[str], None]) -> Report:
    """Run all scenarios of a mode, write the report and tell the verdict, line by line.

    What a scenario cannot measure is a missed threshold.
    """
    began, started_at = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    names = QUICK_ONES if mode == "quick" else tuple(SCENARIOS)
    with Busyness() as busy, open_session(pace) as session:
        for name in names:
            _run_one(session, name)
    report = make_report(
        mode=mode,
        started_at=started_at,
        seconds=time.monotonic() - began,
        machine=describe(),
        busyness=busy.reading,
        thresholds=session.found.thresholds,
        headline=headline(session.found.rows),
        rows=session.found.rows,
        latency=session.found.latency,
        growth=session.found.growth,
        notes=[" ".join(note.split()) for note in (*NOTES, *session.found.notes)],
        plan=_plans(session.found.rows),
    )
    as_json, as_html = write_report(report, OUT)
    for line in in_words(report):
        tell(line)
    tell(f"{report.seconds:.0f} s; written: {as_json}, {as_html}")
    return report


def run_scenarios(names: Sequence[str], pace: Pace) -> bool:
    """Run some scenarios without a report; whether every threshold was met."""
    with Busyness() as busy, open_session(pace) as session:
        for name in names:
            session.say(name)
            SCENARIOS[name](session)
    session.say(_busy_in_words(busy.reading))
    return all(threshold.ok for threshold in session.found.thresholds)


def headline(rows: Sequence[Row]) -> str:
    """One sentence, of the rows that a buyer asks for first."""
    wanted = {(KeyKind.P256, 256, False): "P-256", (KeyKind.RSA_3072, 64, True): "RSA-3072 (verified)"}
    parts = []
    for (kind, size, verified), name in wanted.items():
        for row in rows:
            fits = (row.key_kind, row.digests_per_job, row.verified) == (kind, size, verified)
            if (
                fits
                and row.share_of_ceiling is not None
                and row.scenario in {"end to end", "verify-after-sign"}
            ):
                parts.append(
                    f"{name}: {number(row.signatures_per_s)} signatures/s end to end,"
                    f" {row.share_of_ceiling:.0%} of what the module does here"
                )
                break
    return "; ".join(parts)


def _run_one(session: Session, name: str) -> None:
    session.say(name)
    try:
        SCENARIOS[name](session)
    except Exception as error:  # noqa: BLE001  # one that fails must neither hide nor take the others with it
        why = f"{type(error).__name__}: {' … '.join(_first_and_last(str(error)))}"
        session.say(f"{name} failed: {why}")
        session.note(f"The scenario {name} failed: {why}")
        session.threshold(at_least(f"{name}: measured to its end", None, 1.0))


def _first_and_last(text: str) -> list[str]:
    """First and last line of a log's end: its subject, and how it ended; the rest is in the logs."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [lines[0], lines[-1]] if len(lines) > 1 else lines


def _plans(rows: Sequence[Row]) -> list[str]:
    lines = []
    for demand in HEADLINE_DEMANDS:
        try:
            made = planned(rows, demand)
        except (NotMeasured, LookupError):
            continue
        lines.append(
            f"{demand.per_day:,.0f} signatures a day with {demand.kind}: {'; '.join(plan_in_words(made))}"
        )
    return lines


def _busy_in_words(reading: BusynessReading) -> str:
    shares = (
        f"the machine: ours {reading.own_share:.0%}, others {reading.other_share:.0%},"
        f" stolen {reading.steal_share:.0%}"
    )
    return shares + (" -- too busy: rates are low, shares uncertain both ways" if reading.disturbed else "")
