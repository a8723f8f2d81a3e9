"""``docs/reference/events.md``, from the table of log events."""

from __future__ import annotations

from typing import Final

from workers.telemetry.log_events import EVENTS

_HEAD: Final = """\
# Log events

<!-- Written by `make generate` from workers/telemetry/log_events.py; do not edit. -->

Worker, lanes and exporter write one JSON object per line to stderr: `ts` (UTC), `level`, `logger`, `event`, then the
fields of the event, and `exception` with the traceback if there is one. Event names are stable. No line contains a digest,
a signature, a PIN or a password. `[logging] level` sets the lowest level that worker and exporter log.

The history of a job is in the write-ahead log of each host that processed it (`sigmill status JOB`), independent of this
log. With `[logging] jobs = true` each claim and each round of results is logged with its job ids, so that a log collector
can be searched by job id over all hosts. Unusual outcomes of a job are always logged with its id.

"""


def page() -> str:
    """Text of the page in Markdown."""
    rows = [("Event", "Level", "Fields", "Meaning"), ("---",) * 4]
    rows += [
        (f"`{name}`", event.level, ", ".join(f"`{field}`" for field in event.fields), event.meaning)
        for name, event in EVENTS.items()
    ]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)
