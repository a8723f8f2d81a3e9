"""The logged events and the table of events are the same."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import workers
from workers.telemetry.log_events import EVENTS, NOTE

SOURCES = sorted(Path(workers.__file__).parent.rglob("*.py"))
LEVELS = {"exception": "error"}
CALLS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
FORBIDDEN = ("digest", "signature", "pin", "password", "sealed", "payload", "secret")


_LOGS = re.compile(rf"\b(?:log|_log|logger|logging)[\s\\]*\.[\s\\]*(?:{'|'.join(CALLS)})\b")
"""Text of a file that has a call: the parser takes seconds for all of them."""


class Call(NamedTuple):
    where: str
    level: str
    names: list[str]
    fields: set[str] | None


@cache
def calls() -> list[Call]:
    """Every call on a logger of ours; ``fields`` is None where they are not written out in the call."""
    found = []
    for file in SOURCES:
        text = file.read_text()
        for node in ast.walk(ast.parse(text)) if _LOGS.search(text) else ():
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id in {"log", "_log", "logger", "logging"}
                and node.func.attr in CALLS
            ):
                where = f"{file.name}:{node.lineno}"
                level = LEVELS.get(node.func.attr, node.func.attr)
                found.append(Call(where, level, _names(node.args[0]), _fields(node)))
    return found


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.IfExp):
        return [*_names(node.body), *_names(node.orelse)]
    assert isinstance(node, ast.Constant), f"an event's name is written out: {ast.unparse(node)}"
    return [str(node.value)]


def _fields(call: ast.Call) -> set[str] | None:
    extra = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    if extra is None:
        return set()
    if not isinstance(extra, ast.Dict):
        return None
    return {str(key.value) for key in extra.keys if isinstance(key, ast.Constant)}


def is_in_the_table(name: str, call: Call) -> bool:
    """Whether the table has it with this level and these fields. What comes every second may be said to those who ask."""
    event = EVENTS.get(name)
    return (
        event is not None
        and call.level in {event.level, "debug"}
        and (call.fields is None or call.fields <= set(event.fields))
    )


def test_logged_events_are_in_the_table() -> None:
    """By name, level and fields."""
    assert not [
        f"{call.where} {name}: {call.level} {call.fields}, other than in workers/telemetry/log_events.py"
        for call in calls()
        for name in call.names
        if not is_in_the_table(name, call)
    ]


def test_events_in_the_table_are_logged() -> None:
    """And its fields are of some call, where all calls write them out."""
    logged: dict[str, list[set[str] | None]] = {}
    for call in calls():
        for name in call.names:
            logged.setdefault(name, []).append(call.fields)
    assert logged.keys() == EVENTS.keys() - {NOTE}
    for name, fields in logged.items():
        written = [each for each in fields if each is not None]
        if len(written) == len(fields) and name != "job.dead":
            assert set().union(*written) == set(EVENTS[name].fields), name


def test_no_field_is_made_for_what_is_secret() -> None:
    """Neither digests nor PINs have a place in a line."""
    assert [
        f for event in EVENTS.values() for f in event.fields if any(word in f for word in FORBIDDEN)
    ] == []


def test_a_collision_with_logging_s_own_names_would_break_the_call() -> None:
    """``logging`` refuses fields that a record has already."""
    import logging

    taken = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "ts", "level", "logger", "event"}
    assert {f for name, event in EVENTS.items() if name != NOTE for f in event.fields} & taken == set()
