"""Time option: a date or time of RFC 3339, in UTC where it has no offset."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from queueing.unix_time import from_unix_ms, in_unix_ms


class Time(click.ParamType[int]):
    """Time option, such as ``2026-11-27`` or ``2026-11-27T12:00:00Z``; converted to Unix ms."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Convert the text to Unix ms; fails as a usage error."""
        if isinstance(value, int):
            return value
        try:
            found = datetime.fromisoformat(str(value).strip())
        except ValueError:
            self.fail(f"{value!r} is not a time such as 2026-11-27 or 2026-11-27T12:00:00Z", param, ctx)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return in_unix_ms(found)


def utc_text(at_ms: int) -> str:
    """Unix ms as RFC 3339 in UTC; the bare number where no calendar has it."""
    try:
        return from_unix_ms(at_ms).isoformat(timespec="milliseconds")
    except OverflowError:
        return f"{at_ms} ms"


from_option = click.option(
    "--from", "from_ms", type=Time(), default=0, metavar="TIME", help="Begin at this time (RFC 3339, UTC)."
)
to_option = click.option("--to", "to_ms", type=Time(), metavar="TIME", help="End before this time.")
