"""Tests of the alerts with ``promtool test rules``: each fires, and stays silent, when it should."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.generate.prometheus.rules import ALERTS, BUDGETS, TOKENS, alerts
from tests.support.monitoring.promql import ROOT
from tests.support.tools import tool

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Case of an alert: series with a sample per minute, and the labels with which it fires at minute ``at``, or silence."""

    alert: str
    series: dict[str, str]
    labels: dict[str, str] | None = None
    at: int = 20


def fires(alert: str, series: dict[str, str], at: int = 20, **labels: str) -> Case:
    return Case(alert=alert, series=series, labels=labels, at=at)


def silent(alert: str, series: dict[str, str], at: int = 20) -> Case:
    return Case(alert=alert, series=series, at=at)


def jobs(good: str, bad: str, tenant_class: str = "interactive") -> dict[str, str]:
    name = f'sigmill_objective_jobs_total{{class="{tenant_class}",result="'
    return {f'{name}good"}}': good, f'{name}bad"}}': bad}


def late(intime: str, every: str) -> dict[str, str]:
    name = "sigmill_objective_seconds"
    return {
        **jobs(every, "0x600", "standard"),
        f'{name}_bucket{{class="standard",le="2.0"}}': intime,
        f'{name}_count{{class="standard"}}': every,
    }


BURNS_HOUR, BURNS_SIX, BURNS_DAY, BURNS_DAYS = [alert.name for alert in alerts()[:4]]
AVAILABILITY = {"class": "interactive", "objective": "availability"}
WORKER = 'instance="w1"'
AGE = 'sigmill_backlog_age_seconds{tenant="acme"}'
HELD = 'sigmill_limiter_decisions_total{instance="w1",outcome="rate",tenant="acme"}'
LOG_SHARE = 'sigmill_log_share_used_ratio{instance="w1",tenant="acme"}'
CIRCUIT = f'sigmill_token_circuit_open{{{WORKER},token="t1"}}'
BUSY, SESSIONS = (f'sigmill_sessions{name}{{{WORKER},token="t1"}}' for name in ("_busy", ""))
EXPIRY = 'sigmill_certificate_expiry_timestamp_seconds{key="release",tenant="acme"}'
CLIENT = 'sigmill_client_expiry_timestamp_seconds{tenant="acme"}'
CANARY = 'sigmill_canary_last_success_timestamp_seconds{token="t1"}'
RESTARTS = f'sigmill_lane_restarts_total{{{WORKER},reason="exit_70",token="t1"}}'
SET_BACK = f'sigmill_jobs_returned_total{{{WORKER},reason="clock.set_back",tenant="acme"}}'
RECORD_LAG, RECORD_FORMER, RECORD_LOST, UNCERTIFIED, RECORD_DAMAGE = (
    f"sigmill_record_{name}{{{WORKER}}}"
    for name in ("lag_seconds", "former", "lost", "uncertified", "damage")
)
SKIPPED, INTERRUPTED = (
    f'sigmill_record_failures_total{{{WORKER},reason="{reason}"}}' for reason in ("unreadable", "io")
)
PROVIDER_KEYS = 'sigmill_provider_keys_timestamp_seconds{provider="github"}'
REPLAYED = 'sigmill_grants_total{outcome="replayed",provider="github"}'
KEY = {"tenant": "acme", "key": "release"}

CASES = [
    # 10 % fail; 0.1 % do; they did until ten minutes ago; one of three does
    fires(BURNS_HOUR, jobs("0+900x90", "0+100x90"), 65, **AVAILABILITY),
    silent(BURNS_HOUR, jobs("0+999x90", "0+1x90"), 65),
    silent(BURNS_HOUR, jobs("0+900x90", "0+100x55 5500x35"), 65),
    silent(BURNS_HOUR, jobs("0 1 2x88", "0 0 1x88"), 65),
    fires(BURNS_HOUR, late("0+500x90", "0+1000x90"), 65, **{"class": "standard", "objective": "latency"}),
    silent(BURNS_HOUR, late("0+995x90", "0+1000x90"), 65),
    fires(BURNS_SIX, jobs("0+993x400", "0+7x400"), 380, **AVAILABILITY),
    silent(BURNS_SIX, jobs("0+996x400", "0+4x400"), 380),
    fires(BURNS_DAY, jobs("0+996x400", "0+4x400"), 380, **AVAILABILITY),
    silent(BURNS_DAY, jobs("0+998x400", "0+2x400"), 380),
    fires(BURNS_DAYS, jobs("0+998x400", "0+2x400"), 380, **AVAILABILITY),
    silent(BURNS_DAYS, jobs("0+9995x400", "0+5x400"), 380),
    fires("SigmillIssuerDown", {'sigmill_issuer_lane_up{instance="i1"}': "0x30"}, instance="i1"),
    fires("SigmillIssuerDown", {'up{instance="i1",job="sigmill-issuer"}': "0x30"}, instance="i1"),
    silent("SigmillIssuerDown", {'sigmill_issuer_lane_up{instance="i1"}': "1x18 0 1x10"}),
    fires("SigmillProviderKeysOld", {PROVIDER_KEYS: "0x100"}, 90, provider="github"),
    silent("SigmillProviderKeysOld", {PROVIDER_KEYS: "0+60x100"}, 90),
    fires("SigmillTokenReplayed", {REPLAYED: "0x15 1x20"}, provider="github"),
    silent("SigmillTokenReplayed", {REPLAYED: "1x30"}),
    fires("SigmillRecordLagging", {RECORD_LAG: "0+60x30"}, instance="w1"),
    silent("SigmillRecordLagging", {RECORD_LAG: "1x30"}),
    fires("SigmillRecordDamaged", {RECORD_DAMAGE: "0x10 3x20"}, instance="w1"),
    silent("SigmillRecordDamaged", {RECORD_DAMAGE: "0x30"}),
    fires("SigmillRecordUncertified", {UNCERTIFIED: "2x30"}, instance="w1"),
    silent("SigmillRecordUncertified", {UNCERTIFIED: "0x12 2x20"}),  # a sealer has just started
    silent("SigmillRecordUncertified", {UNCERTIFIED: "0x30"}),
    fires("SigmillRecordSkipped", {SKIPPED: "0x10 3x20"}, instance="w1"),
    silent("SigmillRecordSkipped", {SKIPPED: "3x30", INTERRUPTED: "0+1x30"}),
    fires("SigmillRecordReplaced", {RECORD_FORMER: "0x10 1x20"}, instance="w1"),
    silent("SigmillRecordReplaced", {RECORD_FORMER: "0x30", RECORD_LOST: "0x30"}),
    fires("SigmillRecordReplaced", {RECORD_FORMER: "0x30", RECORD_LOST: "0x10 1x20"}, instance="w1"),
    fires("SigmillBacklogAgeHigh", {AGE: "0+60x30"}, tenant="acme"),
    silent("SigmillBacklogAgeHigh", {AGE: "60x30"}),
    silent("SigmillBacklogAgeHigh", {AGE: "0+60x30", HELD: "0+5x30"}),
    fires(
        "SigmillTenantThrottled", {'sigmill_submits_refused_total{tenant="acme"}': "0+50x30"}, tenant="acme"
    ),
    silent("SigmillTenantThrottled", {'sigmill_submits_refused_total{tenant="acme"}': "50x30"}),
    fires("SigmillCapsStale", {'sigmill_limits_astray{tenant="acme"}': "1x30"}, tenant="acme"),
    silent("SigmillCapsStale", {'sigmill_limits_astray{tenant="acme"}': "_x19 1x10"}),
    fires("SigmillDeadLetters", {'sigmill_dead_letters{tenant="acme"}': "2x30"}, tenant="acme"),
    silent("SigmillDeadLetters", {'sigmill_dead_letters{tenant="acme"}': "2x5 _x30"}),
    fires("SigmillCircuitOpen", {CIRCUIT: "1x30"}, token="t1", instance="w1"),
    silent("SigmillCircuitOpen", {CIRCUIT: "0x18 1x10"}),
    silent("SigmillCircuitOpen", {CIRCUIT: "2x30"}),
    fires("SigmillPinRefused", {CIRCUIT: "2x30"}, token="t1", instance="w1"),
    fires("SigmillPinRefused", {CIRCUIT: "0x3 2 0 0 0 2 0 0 0 2 0 0 0 2 0 0"}, 4, token="t1", instance="w1"),
    silent("SigmillPinRefused", {CIRCUIT: "1x30"}),
    silent("SigmillPinRefused", {CIRCUIT: "2x4 0x30"}),
    fires("SigmillLanesRestarting", {RESTARTS: "0+1x30"}, token="t1"),
    silent("SigmillLanesRestarting", {RESTARTS: "0x15 1x15"}),
    fires("SigmillHsmSaturated", {BUSY: "4x60", SESSIONS: "4x60"}, 40, token="t1"),
    silent("SigmillHsmSaturated", {BUSY: "3x60", SESSIONS: "4x60"}, 40),
    silent("SigmillHsmSaturated", {BUSY: "0x60", SESSIONS: "0x60"}, 40),
    fires("SigmillCanaryFailing", {CANARY: "60x30"}, token="t1"),
    silent("SigmillCanaryFailing", {CANARY: "0+60x30"}),
    fires("SigmillLogFailing", {f"sigmill_log_failing{{{WORKER}}}": "1x30"}, instance="w1"),
    fires("SigmillLogShareUsed", {LOG_SHARE: "0.9x30"}, tenant="acme", instance="w1"),
    silent("SigmillLogShareUsed", {LOG_SHARE: "0.7x30"}),
    fires("SigmillLogDamaged", {f"sigmill_log_damage{{{WORKER}}}": "2x30"}, instance="w1"),
    fires("SigmillLogDamaged", {f"sigmill_grants_uncounted{{{WORKER}}}": "1x30"}, instance="w1"),
    silent("SigmillLogDamaged", {f"sigmill_log_damage{{{WORKER}}}": "0x30"}),
    silent("SigmillLogFailing", {f"sigmill_log_failing{{{WORKER}}}": "0x30"}),
    fires("SigmillConfigBehind", {f"sigmill_config_behind{{{WORKER}}}": "1x30"}, instance="w1"),
    silent("SigmillConfigBehind", {f"sigmill_config_behind{{{WORKER}}}": "1x5 0x30"}),
    fires("SigmillStateNotDurable", {f"sigmill_config_not_remembered{{{WORKER}}}": "1x30"}, instance="w1"),
    fires("SigmillStateNotDurable", {f"sigmill_stop_orders_not_kept{{{WORKER}}}": "2x30"}, instance="w1"),
    silent("SigmillStateNotDurable", {f"sigmill_stop_orders_not_kept{{{WORKER}}}": "1x1 0x30"}),
    fires("SigmillClockDiffers", {f"sigmill_clock_ahead_seconds{{{WORKER}}}": "-3600x30"}, instance="w1"),
    silent("SigmillClockDiffers", {f"sigmill_clock_ahead_seconds{{{WORKER}}}": "-3600x1 0.2x28"}),
    fires("SigmillClockSetBack", {SET_BACK: "0+1x30"}, instance="w1"),
    silent("SigmillClockSetBack", {SET_BACK: "0 7x30"}),
    fires("SigmillNoWorkerReady", {f"sigmill_worker_ready{{{WORKER}}}": "0x30"}),
    fires("SigmillNoWorkerReady", {}),
    silent("SigmillNoWorkerReady", {f"sigmill_worker_ready{{{WORKER}}}": "1x30"}),
    fires(
        "SigmillWorkerDown",
        {'up{instance="w1",job="sigmill-worker"}': "0x30"},
        instance="w1",
        job="sigmill-worker",
    ),
    silent("SigmillWorkerDown", {'up{instance="x",job="node"}': "0x30"}),
    fires("SigmillRedisDown", {'sigmill_redis_up{instance="e"}': "0x30"}, instance="e"),
    silent("SigmillRedisDown", {'sigmill_redis_up{instance="e"}': "1x30"}),
    fires("SigmillRedisRestarted", {'sigmill_redis_restarts_total{instance="e"}': "0x12 1x20"}, instance="e"),
    silent("SigmillRedisRestarted", {'sigmill_redis_restarts_total{instance="e"}': "0 1x40"}, 30),
    fires(
        "SigmillRedisMemoryFull",
        {
            'sigmill_redis_memory_used_bytes{instance="e"}': "90x30",
            'sigmill_redis_memory_limit_bytes{instance="e"}': "100x30",
        },
        instance="e",
    ),
    silent(
        "SigmillRedisMemoryFull",
        {
            'sigmill_redis_memory_used_bytes{instance="e"}': "90x30",
            'sigmill_redis_memory_limit_bytes{instance="e"}': "0x30",
        },
    ),
    fires(
        "SigmillRelayDown",
        {'up{instance="r",job="sigmill-relay"}': "0x30"},
        instance="r",
        job="sigmill-relay",
    ),
    silent("SigmillRelayDown", {'up{instance="r",job="sigmill-relay"}': "1x30"}),
    fires(
        "SigmillRelayShedding",
        {'sigmill_relay_shed_total{cause="waiting",instance="r"}': "0+60x30"},
        instance="r",
        cause="waiting",
    ),
    fires(
        "SigmillRelayFailing",
        {
            'sigmill_relay_requests_total{endpoint="jobs",instance="r",outcome="unavailable"}': "0+1x30",
            'sigmill_relay_requests_total{endpoint="jobs",instance="r",outcome="ok"}': "0+60x30",
        },
        instance="r",
    ),
    silent(
        "SigmillRelayFailing",
        {
            'sigmill_relay_requests_total{endpoint="jobs",instance="r",outcome="unavailable"}': "5x30",
            'sigmill_relay_requests_total{endpoint="jobs",instance="r",outcome="shed"}': "0+60x30",
        },
    ),
    fires(
        "SigmillConnectionsRefused",
        {'sigmill_https_connections_refused_total{instance="r"}': "0+60x30"},
        instance="r",
    ),
    fires(
        "SigmillRelayNearlyFull",
        {
            'sigmill_relay_waiting_clients{instance="r"}': "10000x30",
            'sigmill_relay_waiting_clients_limit{instance="r"}': "12000x30",
        },
        instance="r",
    ),
    silent(
        "SigmillRelayNearlyFull",
        {
            'sigmill_relay_waiting_clients{instance="r"}': "9000x30",
            'sigmill_relay_waiting_clients_limit{instance="r"}': "12000x30",
        },
    ),
    fires(
        "SigmillGrantsRefused",
        {
            'sigmill_grants_total{provider="github",outcome="claims"}': "0+3x60",
            'sigmill_grants_total{provider="github",outcome="issued"}': "0+1x60",
        },
        50,
        provider="github",
    ),
    silent(
        "SigmillGrantsRefused",
        {
            'sigmill_grants_total{provider="github",outcome="claims"}': "0+1x60",
            'sigmill_grants_total{provider="github",outcome="issued"}': "0+3x60",
            'sigmill_grants_total{provider="unknown",outcome="provider"}': "0+9x60",
        },
        50,
    ),
    silent("SigmillRelayShedding", {'sigmill_relay_shed_total{cause="draining",instance="r"}': "0+60x30"}),
    silent("SigmillConnectionsRefused", {'sigmill_https_connections_refused_total{instance="r"}': "60x30"}),
    fires(
        "SigmillServerCertificateRefused",
        {'sigmill_https_certificate_reloads_total{instance="r",result="refused"}': "0 0 1x30"},
        instance="r",
        result="refused",
    ),
    silent(
        "SigmillServerCertificateRefused",
        {
            'sigmill_https_certificate_reloads_total{instance="r",result="refused"}': "0 0 1x30",
            'sigmill_https_certificate_reloads_total{instance="r",result="adopted"}': "0 0 0 0 1x30",
        },
    ),
    fires("SigmillExporterSilent", {}),
    fires("SigmillExporterSilent", {'sigmill_survey_timestamp_seconds{instance="e"}': "60x30"}),
    silent("SigmillExporterSilent", {'sigmill_survey_timestamp_seconds{instance="e"}': "0+60x30"}),
    fires("SigmillCertificateExpiring", {EXPIRY: f"{20 * DAY}x120"}, 90, **KEY),
    silent("SigmillCertificateExpiring", {EXPIRY: f"{40 * DAY}x120"}, 90),
    fires("SigmillCertificateExpiringSoon", {EXPIRY: f"{2 * DAY}x120"}, 90, **KEY),
    silent("SigmillCertificateExpiringSoon", {EXPIRY: f"{20 * DAY}x120"}, 90),
    fires("SigmillClientKeyExpiring", {CLIENT: f"{10 * DAY}x120"}, 90, tenant="acme"),
    silent("SigmillClientKeyExpiring", {CLIENT: f"{20 * DAY}x120"}, 90),
]


def as_test(case: Case) -> str:
    """Test file of promtool for a case, in JSON, which is valid YAML."""
    selector = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    severity = next(alert.severity for alert in alerts() if alert.name == case.alert)
    samples = []
    if case.labels is not None:
        labels = {"alertname": case.alert, "alertstate": "firing", "severity": severity, **case.labels}
        inside = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
        samples = [{"labels": f"ALERTS{{{inside}}}", "value": 1}]
    return json.dumps(
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
            "promql_expr_test": [{"expr": selector, "eval_time": f"{case.at}m", "exp_samples": samples}],
        }
    )


def promtool_says(folder: Path, cases: list[Case], *, every: str = "1m") -> subprocess.CompletedProcess[str]:
    """Run promtool on the cases; most of its time goes to evaluating the rules at the interval ``every``."""
    file = folder / "tests.yml"
    needed = {TOKENS, ALERTS, *([BUDGETS] if any("Burn" in case.alert for case in cases) else [])}
    rules = json.dumps([str(ROOT / file) for file in sorted(needed)])
    tests = ",\n".join(map(as_test, cases))
    file.write_text(f'{{"rule_files": {rules}, "evaluation_interval": "{every}", "tests": [\n{tests}\n]}}')
    return subprocess.run(
        [tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False
    )


def test_every_alert_is_tried_both_ways() -> None:
    """The cases contain every alert both firing and silent."""
    names = {alert.name for alert in alerts()}
    assert {case.alert for case in CASES if case.labels is not None} == names
    assert {case.alert for case in CASES if case.labels is None} == names


@pytest.mark.parametrize("hours", [False, True])
def test_alerts_fire_and_are_silent_as_they_should(tmp_path: Path, hours: bool) -> None:
    """promtool accepts every case; those of budgets simulate hours and evaluate the rules less often."""
    cases = [case for case in CASES if ("Burn" in case.alert) is hours]
    done = promtool_says(tmp_path, cases, every="5m" if hours else "1m")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        fires("SigmillPinRefused", {CIRCUIT: "1x30"}, token="t1", instance="w1"),
        silent("SigmillCircuitOpen", {CIRCUIT: "1x30"}),
    ],
)
def test_a_case_that_is_wrong_fails(wrong: Case, tmp_path: Path) -> None:
    assert promtool_says(tmp_path, [wrong]).returncode != 0
