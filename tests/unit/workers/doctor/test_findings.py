"""Findings of the doctor: the state that decides the exit code, and the stable JSON fields."""

from __future__ import annotations

import msgspec

from workers.doctor.findings import State, fail, ok, skipped, warning, worst


def test_a_failure_decides_before_a_skipped_check() -> None:
    """Warnings and passed checks do not change the exit code."""
    assert worst([]) is State.OK
    assert worst([ok("a", "b", "c"), warning("a", "b", "c")]) is State.OK
    assert worst([skipped("a", "b", "c"), ok("a", "b", "c")]) is State.SKIPPED
    assert worst([skipped("a", "b", "c"), fail("a", "b", "c", "d")]) is State.FAIL


def test_json_has_the_documented_fields_and_values() -> None:
    """Programs read ``state``, ``says`` and ``mend``, whatever the attributes are called."""
    findings = [ok("c", "s", "t"), warning("c", "s", "t"), fail("c", "s", "t", "f"), skipped("c", "s", "t")]
    lines = [msgspec.json.decode(msgspec.json.encode(finding)) for finding in findings]
    assert [line["state"] for line in lines] == ["good", "note", "mend", "unasked"]
    assert lines[2] == {"check": "c", "subject": "s", "state": "mend", "says": "t", "mend": "f"}
