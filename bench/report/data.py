"""The report of a run: its data, by the contract of the design.

A missed threshold makes the run fail (``exit_status``); a machine that was busy with something else makes it
headless: numbers and plots stay, the headline does not. ``bench.report.files`` writes the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from bench.measurement.machine import OTHER_SHARE_MAX, STEAL_SHARE_MAX, BusynessReading, Machine
from bench.measurement.percentiles import Percentiles

Mode = Literal["quick", "full", "day"]

SCHEMA_VERSION: Final = 1
EXIT_MISSED: Final = 1
CREDIBLE_SHARE: Final = 1.05  # what noise does to the median of a few rounds on a quiet machine


class CpuSplit(msgspec.Struct, frozen=True, kw_only=True):
    """CPU microseconds per signature, by process group."""

    client: float = 0.0
    redis: float = 0.0
    worker: float = 0.0
    lane: float = 0.0

    @property
    def total(self) -> float:
        """All groups together."""
        return self.client + self.redis + self.worker + self.lane


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One throughput measurement. Build it with ``throughput_row``, which keeps the share honest.

    ``module_ceiling_per_s`` is None where no module limits the scenario; ``algorithm`` is an AWS KMS name,
    and ``key_kind`` tells RSA sizes apart. ``bound`` is the least share that a threshold asks for, to be drawn.
    """

    scenario: str
    algorithm: str
    digests_per_job: int
    signatures_per_s: float
    module_ceiling_per_s: float | None
    share_of_ceiling: float | None
    cpu_us_per_signature: CpuSplit
    key_kind: str = ""
    verified: bool = True
    rounds: int = 1
    bound: float | None = None
    note: str = ""


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """A bound and what was measured; ``value`` is None where it was not measured, and then it is missed."""

    name: str
    value: float | None
    bound: float
    ok: bool
    sense: Literal["at least", "at most"]
    unit: str = ""
    note: str = ""


class LatencyPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Open-loop latency at one load; ``load_share`` is the part of the measured capacity."""

    scenario: str
    algorithm: str
    load_share: float
    offered_per_s: float
    answered_per_s: float
    latency: Percentiles
    start_lag_max_ms: float = 0.0


class GrowthPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One point of a growth line."""

    x: float
    y: float


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """Growth of a cost. Series of the same ``plot`` share axes; ``x`` is drawn by powers of ten, or evenly."""

    plot: str
    series: str
    x_label: str
    y_label: str
    points: list[GrowthPoint]
    note: str = ""
    log_x: bool = True


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, thresholds first."""

    thresholds: list[Threshold]
    ok: bool
    headline: str | None
    headline_refused: str | None
    rows: list[Row]
    latency: list[LatencyPoint]
    growth: list[Growth]
    mode: Mode
    started_at: str
    seconds: float
    machine: Machine
    busyness: BusynessReading
    notes: list[str] = msgspec.field(default_factory=list)
    plan: list[str] = msgspec.field(default_factory=list)
    schema_version: int = SCHEMA_VERSION


def throughput_row(  # noqa: PLR0913 - the columns of a row, each by name
    *,
    scenario: str,
    algorithm: str,
    digests_per_job: int,
    signatures_per_s: float,
    module_ceiling_per_s: float | None,
    cpu: CpuSplit,
    key_kind: str = "",
    verified: bool = True,
    rounds: int = 1,
    bound: float | None = None,
    note: str = "",
    share: float | None = None,
) -> Row:
    """A row with its share of the ceiling worked out. A share above 1 is kept: it tells of noise.

    ``share``: where rounds alternated, the median of their own ratios, which noise moves less than the ratio
    of the medians.
    """
    if share is None and module_ceiling_per_s:
        share = signatures_per_s / module_ceiling_per_s
    return Row(
        scenario=scenario,
        algorithm=algorithm,
        digests_per_job=digests_per_job,
        signatures_per_s=signatures_per_s,
        module_ceiling_per_s=module_ceiling_per_s,
        share_of_ceiling=share,
        cpu_us_per_signature=cpu,
        key_kind=key_kind,
        verified=verified,
        rounds=rounds,
        bound=bound,
        note=note,
    )


def at_least(name: str, value: float | None, bound: float, *, unit: str = "", note: str = "") -> Threshold:
    """A threshold that is met by ``value >= bound``."""
    met = value is not None and value >= bound
    return Threshold(name=name, value=value, bound=bound, ok=met, sense="at least", unit=unit, note=note)


def share_at_least(name: str, share: float | None, bound: float, *, note: str = "") -> Threshold:
    """A share of the module's ceiling. One beyond it by more than noise is no merit: it is not believed."""
    threshold = at_least(name, share, bound, note=note)
    if share is None or share <= CREDIBLE_SHARE:
        return threshold
    why = f"more than the module can do: the machine was too busy to tell. {note}".strip()
    return msgspec.structs.replace(threshold, ok=False, note=why)


def at_most(name: str, value: float | None, bound: float, *, unit: str = "", note: str = "") -> Threshold:
    """A threshold that is met by ``value <= bound``."""
    met = value is not None and value <= bound
    return Threshold(name=name, value=value, bound=bound, ok=met, sense="at most", unit=unit, note=note)


def make_report(  # noqa: PLR0913 - the parts of a report, each by name
    *,
    mode: Mode,
    started_at: str,
    seconds: float,
    machine: Machine,
    busyness: BusynessReading,
    thresholds: Sequence[Threshold],
    headline: str,
    rows: Sequence[Row] = (),
    latency: Sequence[LatencyPoint] = (),
    growth: Sequence[Growth] = (),
    notes: Sequence[str] = (),
    plan: Sequence[str] = (),
) -> Report:
    """Put a run together; the headline is dropped, with the reason, if the machine was disturbed."""
    refused = refusal(busyness)
    return Report(
        thresholds=list(thresholds),
        ok=all(threshold.ok for threshold in thresholds),
        headline=headline if refused is None else None,
        headline_refused=refused,
        rows=list(rows),
        latency=list(latency),
        growth=list(growth),
        mode=mode,
        started_at=started_at,
        seconds=seconds,
        machine=machine,
        busyness=busyness,
        notes=list(notes),
        plan=list(plan),
    )


def refusal(busyness: BusynessReading) -> str | None:
    """Reason for the missing headline; None where the machine was quiet enough for one."""
    if not busyness.disturbed:
        return None
    return (
        f"The machine was busy with something else: other processes took {busyness.other_share:.0%} of it"
        f" (at most {OTHER_SHARE_MAX:.0%}) and the hypervisor {busyness.steal_share:.0%}"
        f" (at most {STEAL_SHARE_MAX:.0%}). Rates are too low, and shares are uncertain both"
        " ways: on a full machine the many processes of a pipeline get more of a core than a bare loop does."
    )


def exit_status(report: Report) -> int:
    """0 if every threshold is met."""
    return 0 if report.ok else EXIT_MISSED


def in_words(report: Report) -> list[str]:
    """The verdict as lines for a terminal, thresholds first."""
    lines = [
        f"{'ok    ' if threshold.ok else 'MISSED'}  {threshold.name}:"
        f" {number(threshold.value)}{_unit(threshold)}, {threshold.sense} {number(threshold.bound)}"
        for threshold in report.thresholds
    ]
    return [*lines, report.headline or report.headline_refused or ""]


def number(value: float | None) -> str:
    """A number as people read it: about three digits, all of them where it is large."""
    if value is None:
        return "not measured"
    for least, places in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= least:
            return f"{value:,.{places}f}"
    return f"{value:.3g}"


def _unit(threshold: Threshold) -> str:
    return f" {threshold.unit}" if threshold.unit and threshold.value is not None else ""
