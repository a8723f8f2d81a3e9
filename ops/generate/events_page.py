"""``docs/reference/events.md``, from the table of log events."""

from __future__ import annotations

from typing import Final

from workers.telemetry.log_events import EVENTS

_HEAD: Final = """\
# Log events

<!-- Written by `make generate` from workers/telemetry/log_events.py; do not edit. -->

Worker, lanes and exporter write one JSON object per line to stderr: `ts` (UTC), `level`, `logger`, `event`, then the
fields of the event, and `exception` with a traceback where there is one. Names are stable. No line has a digest, a
signature, a PIN or a password. `[logging] level` says from which level on worker and exporter speak.

A job's way is in the write-ahead log of each host that had it (`sigmill status JOB`), whatever is logged here. With
`[logging] jobs = true` each claim and each round of results is a line with the ids of its jobs, for a collector that
is searched by job id over all hosts; the unusual ends of a job are always lines of their own.

"""


def page() -> str:
    """The page as Markdown."""
    rows = [("Event", "Level", "Fields", "Meaning"), ("---",) * 4]
    rows += [
        (f"`{name}`", event.level, ", ".join(f"`{field}`" for field in event.fields), event.meaning)
        for name, event in EVENTS.items()
    ]
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)
