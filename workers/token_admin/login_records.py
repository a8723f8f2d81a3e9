"""Logins of commands, kept for the write-ahead log and with it for the tenant's record."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.unix_time import unix_ms
from workers.journal.event_records import LoginRecord
from workers.journal.event_spool import EventSpool
from workers.token_admin.messages import RecordedLogin

if TYPE_CHECKING:
    from workers.token_admin.messages import TokenAddress

ACCEPTED: Final = "accepted"


def login_of_this_user(tenant: str) -> RecordedLogin:
    """Login of a command of this process's user to a token of the tenant; ``tenant`` is empty for one of the service."""
    return RecordedLogin(tenant=tenant, by=f"command of {user_name()}")


def keep_login(address: TokenAddress, outcome: str) -> None:
    """Keep the login until a worker of this host has it in its log; ``outcome`` is ``ACCEPTED``, or the PKCS#11 name of the refusal.

    Nothing where no worker has this state directory. Costs two fsyncs. Raises ``OSError``, or ``ValueError`` for one that is too long.
    """
    login = address.login
    if login is not None:
        record = LoginRecord(unix_ms(), login.tenant, address.name, outcome, login.by)
        EventSpool(Path(address.refused_pins_of)).put(record)


def user_name() -> str:
    """Name of the operating system's user; its number where it has none."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
