"""The report's data, its verdict, and its two files."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from bench.measurement.machine import BusynessReading, Machine
from bench.measurement.percentiles import Percentiles
from bench.report.data import (
    CpuSplit,
    Growth,
    GrowthPoint,
    LatencyPoint,
    Report,
    Threshold,
    at_least,
    at_most,
    exit_status,
    in_words,
    make_report,
    number,
    share_at_least,
    throughput_row,
)
from bench.report.files import read_report, write_report
from bench.report.page import render_page

QUIET = BusynessReading(seconds=10.0, own_share=0.9, other_share=0.01, steal_share=0.0)
BUSY = BusynessReading(seconds=10.0, own_share=0.5, other_share=0.4, steal_share=0.01)
MACHINE = Machine(
    cpu_model="CPU <script>",
    cores=2,
    memory_bytes=2**34,
    kernel="6.1",
    system="Debian",
    python="3.11",
    versions={"redis-server": "7.0.15"},
)
ROWS = (
    throughput_row(
        scenario="envelopes of 64",
        algorithm="RSASSA_PKCS1_V1_5_SHA_256",
        key_kind="RSA_3072",
        digests_per_job=64,
        signatures_per_s=950.0,
        module_ceiling_per_s=1000.0,
        cpu=CpuSplit(client=3.0, redis=0.5, worker=4.0, lane=2000.0),
    ),
    throughput_row(
        scenario="stock arq & co",
        algorithm="ECDSA_SHA_256",
        digests_per_job=1,
        signatures_per_s=700.0,
        module_ceiling_per_s=None,
        cpu=CpuSplit(),
    ),
)
LATENCY = [
    LatencyPoint(
        scenario="single digests",
        algorithm="ECDSA_SHA_256",
        load_share=share,
        offered_per_s=1000 * share,
        answered_per_s=1000 * share,
        latency=Percentiles(
            count=1000,
            mean_ms=2.0,
            p50_ms=1.5,
            p90_ms=3.0,
            p99_ms=10 * share,
            p999_ms=30 * share,
            max_ms=50.0,
        ),
    )
    for share in (0.9, 0.3, 0.6)
]
GROWTH = [
    Growth(
        plot="claim cost",
        series=name,
        x_label="backlog",
        y_label="us per job",
        points=[GrowthPoint(x=10.0**n, y=20.0 + n) for n in range(3, 7)],
    )
    for name in ("1 tenant", "1,000 tenants")
]


def report(
    thresholds: list[Threshold] | None = None, busyness: BusynessReading = QUIET, *, empty: bool = False
) -> Report:
    return make_report(
        mode="quick",
        started_at="2026-11-23T16:00:00Z",
        seconds=120.0,
        machine=MACHINE,
        busyness=busyness,
        thresholds=thresholds or [],
        headline="95% of the module's ceiling",
        rows=() if empty else ROWS,
        latency=() if empty else LATENCY,
        growth=() if empty else GROWTH,
        notes=["a < b"],
    )


@pytest.mark.parametrize("value,ok", [(0.93, True), (0.94, True), (0.929, False), (None, False)])
def test_at_least_holds_from_the_bound_up(value: float | None, ok: bool) -> None:
    """The bound itself is met; what was not measured is missed."""
    assert at_least("share", value, 0.93).ok is ok


@pytest.mark.parametrize("value,ok", [(10.0, True), (9.0, True), (10.1, False), (None, False)])
def test_at_most_holds_up_to_the_bound(value: float | None, ok: bool) -> None:
    """The bound itself is met; what was not measured is missed."""
    assert at_most("cpu", value, 10.0).ok is ok


def test_nan_is_missed() -> None:
    """A division that went wrong never passes a bound."""
    assert not at_least("share", float("nan"), 0.9).ok
    assert not at_most("cpu", float("nan"), 10.0).ok


def test_one_missed_threshold_fails_the_run() -> None:
    """The exit status follows the thresholds alone."""
    good, bad = at_least("a", 1.0, 0.5), at_most("b", 2.0, 1.0)
    assert exit_status(report([good])) == 0
    assert exit_status(report([good, bad])) == 1


def test_a_busy_machine_gets_no_headline() -> None:
    """The numbers stay, the headline goes, and the reason is given."""
    disturbed = report(busyness=BUSY)
    assert disturbed.headline is None
    assert "40%" in (disturbed.headline_refused or "")
    assert disturbed.rows
    assert report().headline == "95% of the module's ceiling"


def test_the_share_is_of_the_ceiling() -> None:
    """A row works out its own share; without a ceiling there is none."""
    assert [row.share_of_ceiling for row in ROWS] == [pytest.approx(0.95), None]


def test_the_json_has_the_names_of_the_contract(tmp_path: Path) -> None:
    """Every field that is documented for scripts is there under its name."""
    as_json, _ = write_report(report([at_least("a", 1.0, 0.5)]), tmp_path / "bench")
    data = msgspec.json.decode(as_json.read_bytes())
    row, threshold = data["rows"][0], data["thresholds"][0]
    assert {
        "scenario",
        "algorithm",
        "digests_per_job",
        "signatures_per_s",
        "module_ceiling_per_s",
        "share_of_ceiling",
        "cpu_us_per_signature",
    } <= set(row)
    assert set(row["cpu_us_per_signature"]) == {"client", "redis", "worker", "lane"}
    assert {"name", "value", "bound", "ok"} <= set(threshold)
    assert next(iter(data)) == "thresholds"


def test_a_report_reads_back_as_written(tmp_path: Path) -> None:
    """Runs can be compared from their files."""
    written = report([at_least("a", 1.0, 0.5)])
    as_json, _ = write_report(written, tmp_path)
    assert read_report(as_json) == written


def test_the_page_shows_thresholds_before_anything_else() -> None:
    """A reader meets the verdict first, and in it what was missed."""
    page = render_page(report([at_least("good one", 1.0, 0.5), at_most("bad one", 2.0, 1.0)]))
    assert page.index("bad one") < page.index("good one") < page.index("Throughput")


def test_the_page_escapes_what_it_is_given() -> None:
    """No name or note becomes markup."""
    page = render_page(report())
    assert "<script>" not in page
    assert "CPU &lt;script&gt;" in page
    assert "a &lt; b" in page


def test_the_page_needs_nothing_from_elsewhere() -> None:
    """No script, link or image: it can be mailed."""
    page = render_page(report([at_least("a", 1.0, 0.5)]))
    assert not re.search(r"<(script|link|img|iframe)|https?://(?!www\.w3\.org/2000/svg)", page)


def test_the_plots_are_well_formed() -> None:
    """Each SVG parses, and none holds a coordinate that is not a number."""
    plots = re.findall(r"<svg.*?</svg>", render_page(report()), re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        for element in ET.fromstring(plot).iter():  # noqa: S314 - our own text
            for name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width"} & set(element.attrib):
                assert math.isfinite(float(element.attrib[name]))


def test_an_empty_run_still_makes_a_page() -> None:
    """A run that broke off early can be looked at."""
    page = render_page(report(empty=True))
    assert "Machine" in page
    assert "<svg" not in page


def test_the_words_for_a_terminal_begin_with_the_thresholds() -> None:
    """Missed and met are told apart without colour."""
    thresholds = [
        at_most("cpu", 12.0, 10.0, unit="us"),
        at_least("share", None, 0.9),
        at_least("rate", 2.0, 1.5),
    ]
    lines = in_words(report(thresholds))
    assert lines[0] == "MISSED  cpu: 12.0 us, at most 10.0"
    assert lines[1] == "MISSED  share: not measured, at least 0.9"
    assert lines[2] == "ok      rate: 2.00, at least 1.50"
    assert lines[-1] == "95% of the module's ceiling"


@pytest.mark.parametrize(
    "value,text",
    [
        (None, "not measured"),
        (12345.6, "12,346"),
        (47.16, "47.2"),
        (1.234, "1.23"),
        (0.01234, "0.0123"),
        (0.0, "0"),
    ],
)
def test_numbers_are_as_long_as_they_are_true(value: float | None, text: str) -> None:
    """Three digits, and of a large number all that are before the point."""
    assert number(value) == text


def test_a_share_that_no_module_can_have_is_not_believed() -> None:
    """On a busy machine a pipeline may seem faster than the module: that is a missed threshold, not a merit."""
    assert share_at_least("a", 1.04, 0.9).ok
    assert not share_at_least("a", 0.89, 0.9).ok
    doubted = share_at_least("a", 1.19, 0.9, note="ceiling: c 2 x 1")
    assert not doubted.ok
    assert doubted.note == "more than the module can do: the machine was too busy to tell. ceiling: c 2 x 1"
    assert not share_at_least("a", None, 0.9).ok
