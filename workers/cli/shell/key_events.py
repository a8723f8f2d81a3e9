"""Events of keys that commands made, kept for the write-ahead log and with it for the tenant's record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from queueing.unix_time import unix_ms
from workers.cli.shell.output import print_message
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.token_admin.login_records import user_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from queueing.protocol.public_keys import PublicKey
    from workers.config.loading import ServiceScope

KeyEvent = Literal[
    "created",
    "adopted",
    "requested",
    "signed",
    "stated",
    "attached",
    "rotated",
    "activated",
    "retired",
    "revoked",
    "set",
]

_MOST_NAMES: Final = 256
"""Names of changed values, or witnesses, in an entry of the record (``queueing.transparency.event_entries``)."""


def keep_key_event(  # noqa: PLR0913 - a field each
    scope: ServiceScope,
    event: KeyEvent,
    *,
    tenant: str,
    key: str,
    version: int = 0,
    public_key: PublicKey | None = None,
    statement_sha256: bytes = b"",
    witnesses: Iterable[str] = (),
    changed: Iterable[str] = (),
) -> None:
    """Keep the event until a worker of this host has it in its log; ``version`` 0 is the whole key.

    The change itself is made already, so that an event which cannot be kept is a warning. ``requested`` comes before the key signs a
    certificate request, and ``signed`` before the service key signs for a ceremony: what nothing is known of afterwards is on record.
    """
    record = KeyRecord(
        at_ms=unix_ms(),
        tenant=tenant,
        event=event,
        key=key,
        version=version,
        public_key_sha256=b"" if public_key is None else public_key.sha256,
        statement_sha256=statement_sha256,
        witnesses=tuple(witnesses)[:_MOST_NAMES],
        by=user_name(),
        changed=tuple(changed)[:_MOST_NAMES],
    )
    try:
        EventSpool(scope.state_dir).put(record)
    except (OSError, ValueError) as error:
        print_message(
            f"warning: `{event}` of {key} is not on record, since {scope.state_dir} cannot be written ({error}): note it"
            " elsewhere, and run such commands as the worker's user"
        )
