"""The sums of many seeds, and the page that is made of them."""

from __future__ import annotations

from tests.faults.checker.check import EXPORTED_SIGNATURES
from tests.faults.results import page
from tests.faults.run import Report
from tests.faults.summary import summary_of


def report(seed: int, *violations: str, **recoveries: list[float]) -> Report:
    kinds = {"worker.kill": recoveries.get("kill", []), "redis.busy": recoveries.get("busy", [])}
    return Report(
        seed=seed,
        seconds=10.0,
        schedule=[],
        violations=list(violations),
        injections={kind: len(values) for kind, values in kinds.items()},
        recoveries=kinds,
        operations={"C_Sign": 1000, "submitted": 50, "export": 6, EXPORTED_SIGNATURES: 1200},
        digests=1000,
        mended_tokens=1,
    )


def test_sums_are_over_all_seeds() -> None:
    """Injections and operations are added, recoveries have their median and worst, failed seeds are named."""
    summary = summary_of(
        [report(1, kill=[1.0, 3.0]), report(2, "I1 accepted job lost: x", kill=[2.0], busy=[0.5])],
        [7],
        seconds=20,
    )
    by_kind = {kind.kind: kind for kind in summary.kinds}
    assert (by_kind["worker.kill"].injections, by_kind["redis.busy"].injections) == (3, 1)
    assert (by_kind["worker.kill"].median_s, by_kind["worker.kill"].worst_s) == (2.0, 3.0)
    assert by_kind["hsm.exits"].worst_s is None
    assert summary.operations == {
        "C_Sign": 2000,
        "submitted": 100,
        "export": 12,
        EXPORTED_SIGNATURES: 2400,
    }
    assert summary.failed == {2: ["I1 accepted job lost: x"]}
    assert (summary.broken, summary.injections, summary.mended_tokens) == ([7], 4, 2)


def test_the_page_says_when_a_seed_failed() -> None:
    """And it does not say that no rule was broken."""
    good = page(summary_of([report(1, kill=[1.0])], [], seconds=10), None)
    assert "1 seeded runs, 1 faults: none broke a rule." in good
    assert ", 6 exports of tenants' records, 1,200 signatures in these exports" in good
    assert "| `worker.kill` | 1 | 4 | 1.0 | 1.0 |" in good
    bad = page(summary_of([report(1, "I3 outcome changed: x")], [], seconds=10), None)
    assert "1 failed" in bad
    assert "none broke a rule" not in bad
