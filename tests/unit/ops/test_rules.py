"""Tests of the rules and runbooks: valid, with existing metrics, events and commands."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import get_args

import click
import pytest

from ops.generate.prometheus.clock import REAL, Clock
from ops.generate.prometheus.objectives import BURNS, OBJECTIVES
from ops.generate.prometheus.rules import alerts, files
from tests.support.monitoring.promql import ROOT, known, names_in
from tests.support.tools import tool
from workers.cli.main import sigmill
from workers.config.settings import TenantClass
from workers.telemetry.log_events import EVENTS
from workers.telemetry.metrics_catalogue import LATENCY_BOUNDS_S

RUNBOOKS = ROOT / "ops/runbooks"
SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Verification"]
PAGES = sorted(RUNBOOKS.glob("*.md"))
ALERT_NAMES = [alert.name for alert in alerts()]


def run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fences(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", page.read_text(), re.MULTILINE | re.DOTALL)


def test_promtool_finds_the_rules_and_the_configuration_right() -> None:
    run(tool("promtool"), "check", "config", ROOT / "ops/prometheus/prometheus.yml")
    run(tool("promtool"), "check", "rules", *(ROOT / file for file in files()))


def test_amtool_finds_the_alertmanagers_configuration_right() -> None:
    """Alertmanager sends pages to the pager and tickets to the ticket receiver."""
    config = ROOT / "ops/alertmanager/alertmanager.yml"
    run(tool("amtool"), "check-config", config)
    for severity, receiver in (("page", "pager"), ("ticket", "tickets")):
        words = ("config", "routes", "test", f"--config.file={config}", f"severity={severity}")
        assert run(tool("amtool"), *words).split() == [receiver]


def test_every_alert_that_is_inhibited_or_inhibits_exists() -> None:
    text = (ROOT / "ops/alertmanager/alertmanager.yml").read_text()
    names = re.findall(r"Sigmill[A-Za-z.*]+", text)
    assert names
    for name in names:
        assert any(re.fullmatch(name, alert) for alert in ALERT_NAMES), name


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_every_series_that_a_rule_asks_for_exists(scale: float) -> None:
    """Every series in a rule is declared in the catalogue or recorded by a rule."""
    for text in files(Clock(scale)).values():
        assert names_in(text) <= known()


def test_a_drills_rules_are_the_same_but_shorter(tmp_path: Path) -> None:
    """The alerts of a drill have the same names, severities and texts; promtool accepts their expressions."""
    for name, text in files(Clock(60.0)).items():
        file = tmp_path / Path(name).name
        file.write_text(text)
        run(tool("promtool"), "check", "rules", file)
    drill = alerts(Clock(60.0))
    assert [(a.name, a.severity, a.summary, a.description) for a in drill] == [
        (a.name, a.severity, a.summary, a.description) for a in alerts()
    ]
    assert [a.expr for a in drill] != [a.expr for a in alerts()]


def test_windows_are_written_as_people_write_them() -> None:
    """Windows are written in the largest unit that divides them; a drill uses milliseconds, and at least 2 s for a rate."""
    assert [REAL.window(s) for s in (90, 300, 7200, 259_200)] == ["90s", "5m", "2h", "3d"]
    assert [Clock(60.0).window(s) for s in (60, 300)] == ["2000ms", "5000ms"]
    assert (REAL.threshold(300), Clock(60.0).threshold(300), Clock(60.0).pending(30)) == ("300", "5", "500ms")


def test_the_objectives_are_of_the_classes_a_tenant_may_have() -> None:
    """Every tenant class has an objective, whose time is a bucket bound of the histogram."""
    assert {o.tenant_class for o in OBJECTIVES} == set(get_args(TenantClass))
    assert {o.within_s for o in OBJECTIVES} <= set(LATENCY_BOUNDS_S)


def test_two_burn_alerts_page_and_two_are_tickets() -> None:
    """Two burn-rate alerts page and two create tickets; each names the share of the 30-day budget that it spends."""
    assert [burn.severity for burn in BURNS] == ["page", "page", "ticket", "ticket"]
    for burn in BURNS:
        assert f"{burn.factor * burn.long_s / (30 * 86400):.0%}" == burn.spent.replace(" ", "")


def test_every_alert_has_its_page_and_every_page_an_alert() -> None:
    """Every alert has a runbook, and every runbook an alert."""
    assert {page.stem for page in PAGES} == {alert.page for alert in alerts()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_has_the_five_sections(page: Path) -> None:
    """A runbook has the five sections in order; none is empty, and mitigation names a command or another alert."""
    parts = re.split(r"^## (.+)$", page.read_text(), flags=re.MULTILINE)
    assert parts[0].strip() == f"# {page.stem}"
    assert parts[1::2] == SECTIONS
    by_title = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert all(len(text.strip()) > 4 for text in by_title.values())
    assert "```" in by_title["Diagnosis"]
    assert "```console" in by_title["Mitigation"] or "Sigmill" in by_title["Mitigation"]
    assert "```promql" in by_title["Verification"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_pages_queries_are_right_and_about_metrics_that_exist(page: Path, tmp_path: Path) -> None:
    """promtool accepts every query of a runbook, and its series exist."""
    queries = fences(page, "promql")
    assert names_in("\n".join(queries)) <= known()
    rules = "".join(
        f"      - record: a:{i}\n        expr: |-\n          {query}\n" for i, query in enumerate(queries)
    )
    file = tmp_path / "rules.yml"
    file.write_text(f"groups:\n  - name: a\n    rules:\n{rules.replace('a:', 'a:b')}")
    run(tool("promtool"), "check", "rules", file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_pages_commands_exist(page: Path) -> None:
    """Every ``sigmill`` command of a runbook exists, with its options."""
    lines = [line for fence in fences(page, "console") for line in fence.splitlines()]
    assert all(line.startswith("$ ") for line in lines)
    for line in lines:
        words = shlex.split(line.removeprefix("$ "))
        if words[0] != "sigmill":
            continue
        command: click.Command = sigmill
        context = click.Context(command)
        rest = words[1:]
        while isinstance(command, click.Group):
            found = command.get_command(context, rest[0])
            assert found is not None, line
            command, rest = found, rest[1:]
        options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("--")} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_looks_for_events_that_are_logged(page: Path) -> None:
    """A runbook greps for log events that exist."""
    for command in "\n".join(fences(page, "console")).splitlines():
        if command.startswith("$ journalctl") and "grep" in command:
            words = shlex.split(command.partition(" | ")[2])
            assert set(words[-1].split("|")) <= EVENTS.keys(), command


def test_other_alerts_that_a_page_sends_to_exist() -> None:
    names = {page.stem for page in PAGES} | set(ALERT_NAMES)
    for page in PAGES:
        assert set(re.findall(r"`(Sigmill[A-Za-z]+)`", page.read_text())) <= names, page.stem
