"""``ops/prometheus/*.rules.yml``: recorded series, burn-rate alerts from the objectives, symptom alerts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from ops.generate.prometheus.alert import Alert
from ops.generate.prometheus.alerts import symptoms
from ops.generate.prometheus.clock import REAL, Clock, name_of
from ops.generate.prometheus.objectives import BURNS, LEAST_JOBS, OBJECTIVES, WINDOWS_S, Burn, Objective

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BUDGETS: Final = "ops/prometheus/objectives.rules.yml"
TOKENS: Final = "ops/prometheus/tokens.rules.yml"
ALERTS: Final = "ops/prometheus/alerts.rules.yml"

_HEAD: Final = "# Written by `make generate`; do not edit. `promtool check rules` and tests/unit/ops check it.\ngroups:\n"


def files(clock: Clock = REAL) -> dict[str, str]:
    """Text of each rules file, by path."""
    return {BUDGETS: _budget_rules(clock), TOKENS: _token_rules(), ALERTS: _alerts(clock)}


def alerts(clock: Clock = REAL) -> list[Alert]:
    """All alerts: burn rates and symptoms."""
    return [*(_burn(burn, clock) for burn in BURNS), *symptoms(clock)]


def _budget_rules(clock: Clock) -> str:
    objectives = [
        rule
        for objective in OBJECTIVES
        for rule in (
            *_budgets(objective),
            *(rule for window in WINDOWS_S for rule in _errors(objective, window, clock)),
        )
    ]
    jobs = [
        _record(
            f"sigmill:objective_jobs:rate{name_of(window)}",
            f"sum by (class) (rate(sigmill_objective_jobs_total[{clock.window(window)}]))",
            {},
        )
        for window in WINDOWS_S
    ]
    return _HEAD + _group("sigmill-objectives", [*objectives, *jobs])


def _token_rules() -> str:
    busy = "sum by (token) (sigmill_sessions_busy) / (sum by (token) (sigmill_sessions) > 0)"
    return _HEAD + _group("sigmill-tokens", [_record("sigmill:token_busy:ratio", busy, {})])


def _budgets(objective: Objective) -> Iterable[str]:
    for name, target in (("availability", objective.availability), ("latency", objective.latency)):
        labels = {"class": objective.tenant_class, "objective": name}
        yield _record("sigmill:objective_budget:ratio", f"vector({1 - target:.4g})", labels)


def _errors(objective: Objective, window_s: int, clock: Clock) -> Iterable[str]:
    """Error ratio of a window by objective; no sample where there were no jobs."""
    name, window = f"sigmill:objective_errors:ratio_rate{name_of(window_s)}", clock.window(window_s)
    labels = {"class": objective.tenant_class}
    only = f'class="{objective.tenant_class}"'

    def rate(series: str, more: str = "") -> str:
        return f"sum(rate({series}{{{only}{more}}}[{window}]))"

    bad, every = rate("sigmill_objective_jobs_total", ',result="bad"'), rate("sigmill_objective_jobs_total")
    yield _record(name, f"{bad}\n/\n({every} > 0)", {**labels, "objective": "availability"})
    intime = rate("sigmill_objective_seconds_bucket", f',le="{objective.bound}"')
    good = rate("sigmill_objective_seconds_count")
    yield _record(name, f"1 - {intime}\n/\n({good} > 0)", {**labels, "objective": "latency"})


def _burn(burn: Burn, clock: Clock) -> Alert:
    def burns(window_s: int) -> str:
        return (
            f"sigmill:objective_errors:ratio_rate{name_of(window_s)}\n"
            f"  > on (class, objective) ({burn.factor:g} * sigmill:objective_budget:ratio)"
        )

    enough = (
        f"sigmill:objective_jobs:rate{name_of(burn.long_s)} * {burn.long_s / clock.scale:g} > {LEAST_JOBS}"
    )
    return Alert(
        name=burn.alert,
        severity=burn.severity,
        expr=f"{burns(burn.long_s)}\nand on (class, objective)\n{burns(burn.short_s)}\nand on (class)\n{enough}",
        wait_s=0,
        summary=f"{burn.spent} of the 30-day error budget was spent within {name_of(burn.long_s)}, and it still burns.",
        description="Class {{ $labels.class }}, {{ $labels.objective }}:"
        f" {{{{ $value | humanizePercentage }}}} of the jobs within {name_of(burn.long_s)} failed or were late.",
        runbook="SigmillBudgetBurn",
    )


def _alerts(clock: Clock) -> str:
    burning = [_alert(_burn(burn, clock), clock) for burn in BURNS]
    groups = (("sigmill-burn", burning), ("sigmill-symptoms", [_alert(a, clock) for a in symptoms(clock)]))
    return _HEAD + "".join(_group(name, rules) for name, rules in groups)


def _group(name: str, rules: Iterable[str]) -> str:
    return f"  - name: {name}\n    rules:\n" + "".join(rules)


def _record(name: str, expr: str, labels: Mapping[str, str]) -> str:
    return f"      - record: {name}\n{_expr(expr)}{_mapping('labels', labels)}"


def _alert(alert: Alert, clock: Clock) -> str:
    annotations = {
        "summary": alert.summary,
        "description": alert.description,
        "runbook": f"ops/runbooks/{alert.page}.md",
        "dashboard": f"/d/sigmill-{alert.dashboard}",
    }
    wait = f"        for: {clock.pending(alert.wait_s)}\n" if alert.wait_s else ""
    return (
        f"      - alert: {alert.name}\n{_expr(alert.expr)}{wait}"
        f"{_mapping('labels', {'severity': alert.severity})}{_mapping('annotations', annotations)}"
    )


def _expr(expr: str) -> str:
    lines = "".join(f"          {line}\n" for line in expr.splitlines())
    return f"        expr: |-\n{lines}"


def _mapping(name: str, values: Mapping[str, str]) -> str:
    if not values:
        return ""
    lines = "".join(
        f"          {key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()
    )
    return f"        {name}:\n{lines}"
