"""Dead letters chosen by their ids, as `sigmill deadletter list` prints them."""

from __future__ import annotations

import os

import click
import pytest

from queueing.broker.dead_letters import DeadLetter, StoredLetter
from queueing.errors import JobUnknown
from workers.cli.main import main
from workers.cli.operate.deadletter import _chosen, _line
from workers.cli.shell.output import Exit, printable

IDS = [
    b"{acme}" + b"0" * 32,
    b"\x1b[2J",
    rb"\x1b[2J",
    rb"\\x1b[2J",
    b"\xff",
    rb"\xff",
    "{acme}é".encode(),
    "\u009b31m".encode(),
    b"a b",
    b"a b ",
    b" a",
    b"a\nb",
    b"\\",
    b"",
    b"-",
    rb"\-",
    rb"\\-",
]
LETTER = DeadLetter(
    reason="job.poisoned",
    message="",
    at_ms=1,
    worker="",
    attempts=1,
    crashes=0,
    lane_ends=(),
    key="release",
    client="ci",
    algorithm="ED25519",
    payload=b"",
)
FOUND = [StoredLetter("acme", job_id, b"", LETTER) for job_id in IDS]


@pytest.mark.parametrize("found", FOUND, ids=lambda found: repr(found.job_id))
def test_an_id_is_taken_as_it_is_printed(found: StoredLetter) -> None:
    """In a table, a message and JSON it is the same text, which no terminal and no column changes."""
    printed = _line(found).job_id
    assert printable(printed) == printed == printed.strip()
    assert _chosen(FOUND, (printed,), everything=False) == [found]


@pytest.mark.parametrize("job_id", [b"\x1b[2J", b"\xff", "{acme}é".encode(), b"a b ", b""])
def test_the_bytes_of_an_id_are_taken_too(job_id: bytes) -> None:
    """As another program has them, and as a shell gives them to a command."""
    (chosen,) = _chosen(FOUND, (os.fsdecode(job_id),), everything=False)
    assert chosen.job_id == job_id


def test_an_unknown_id_is_told_with_how_ids_are_given() -> None:
    with pytest.raises(JobUnknown, match="no dead letter with this id: x1b") as unknown:
        _chosen(FOUND, (r"\x1b[2J", "x1b[2J"), everything=False)
    assert unknown.value.hint is not None
    assert "single quotes" in unknown.value.hint


@pytest.mark.parametrize("job_ids, everything", [((), False), (("a",), True)])
def test_ids_or_all_are_given_and_not_both(job_ids: tuple[str, ...], everything: bool) -> None:
    with pytest.raises(click.UsageError):
        _chosen(FOUND, job_ids, everything=everything)


TWICE = [StoredLetter(tenant, b"same", b"", LETTER) for tenant in ("acme", "globex")]


@pytest.mark.parametrize("job_ids", [("same",), ("same", "same"), (r"\xff", "same")])
def test_an_id_of_several_tenants_is_chosen_by_naming_one(job_ids: tuple[str, ...]) -> None:
    """Else the command would show, requeue or delete one of them by chance."""
    with pytest.raises(click.UsageError) as refused:
        _chosen([*FOUND, *TWICE], job_ids, everything=False)
    assert refused.value.message == (
        "same: several tenants have a dead letter of this id: acme, globex; give --tenant"
    )
    assert _chosen(TWICE[1:], ("same",), everything=False) == TWICE[1:]
    assert _chosen(TWICE, (), everything=True) == TWICE


def test_an_id_that_is_given_twice_is_chosen_once() -> None:
    """As it is printed, and by its bytes: the second requeue would say that it is gone."""
    assert _chosen(
        FOUND, (r"\xff", "{acme}" + "0" * 32, r"\xff", os.fsdecode(b"\xff")), everything=False
    ) == [
        FOUND[4],
        FOUND[0],
    ]


@pytest.mark.usefixtures("unchanged_logging")
def test_the_table_has_the_tenant_of_each_letter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An id that several tenants have, or that names none, needs it for `--tenant`."""
    monkeypatch.setattr("workers.cli.operate.deadletter._read", lambda *_: (None, TWICE))
    assert main(["deadletter", "list"]) == Exit.DONE
    rows = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["TENANT", "JOB"], ["acme", "same"], ["globex", "same"]]
