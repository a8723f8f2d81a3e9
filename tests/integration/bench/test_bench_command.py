"""``sigmill bench`` as a command; what it measures is tested apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.bench_costs import write_costs
from workers.cli.main import main


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """The report of a run that had the rows that a plan needs."""
    return write_costs(tmp_path)


def plan(report: Path, *more: str) -> int:
    return main(["bench", "plan", "--per-day", "500e6", "--report", str(report), *more])


def test_a_plan_is_printed(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """HSMs, cores and shards, from the report's costs and a published rate."""
    assert plan(report, "--algorithm", "ECDSA_SHA_256", "--hsm", "azure-managed-hsm") == 0
    said = capsys.readouterr().out
    assert "HSMs: 77 x azure-managed-hsm" in said
    assert "Redis shards: 1" in said


def test_a_plan_in_json_has_its_numbers(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The values in the printed lines, as numbers."""
    assert plan(report, "--algorithm", "ECDSA_SHA_256", "--hsm", "azure-managed-hsm", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["hsms"], made["redis_shards"], made["kind"]) == (77, 1, "P256")


@pytest.mark.parametrize(
    "arguments,said",
    [
        (
            ("--algorithm", "RSASSA_PKCS1_V1_5_SHA_256"),
            "does not tell the kind of key: use RSA_2048 or RSA_3072",
        ),
        (("--algorithm", "P256", "--hsm", "abacus"), "abacus is not in the table"),
        (("--algorithm", "ED25519"), "give one with"),
    ],
)
def test_a_demand_that_cannot_be_planned_is_an_error(
    report: Path, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demand that cannot be planned is a usage error, with the option to give."""
    assert plan(report, *arguments) == 2
    assert said in capsys.readouterr().err


def test_a_plan_needs_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a report the command ends with 2, and names the command that makes one."""
    assert plan(tmp_path / "none.json", "--algorithm", "P256") == 2
    assert "sigmill bench quick" in capsys.readouterr().err


def test_scenarios_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The scenarios are listed without a name, and after a wrong one."""
    assert main(["bench", "scenario"]) == 0
    assert main(["bench", "scenario", "no-such"]) == 2
    assert capsys.readouterr().err.count("p256-verified") == 2


def test_a_device_that_is_not_in_the_table_is_not_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    """A usage error with those that are, before anything is measured."""
    assert main(["bench", "files", "--hsm", "abacus"]) == 2
    assert "abacus is not in the table; known models: aws-cloudhsm" in capsys.readouterr().err
