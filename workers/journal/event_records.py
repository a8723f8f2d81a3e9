"""Records of events that are no job: lanes, logins, keys, configurations, stop orders, key directories, refusals.

They open and close no claim. A reader of a former version skips kinds that it does not know (``recovery``, ``workers.record.follower``).
``tenant`` is empty where the event is of the whole service; then the record of each tenant has it only where that is said.
Nothing of a digest, a signature or a PIN is in them.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

LANE_ID_BYTES: Final = 16


class _Event(msgspec.Struct, frozen=True, array_like=True):
    """Fields of every event, first in the array. ``at_ms``: Unix ms of the host's clock."""

    at_ms: int
    tenant: str


class LoginRecord(_Event, frozen=True, array_like=True, tag="Login"):
    """A process of this host tried to log in to a token: ``outcome`` is ``accepted``, or the PKCS#11 name of the refusal.

    ``by``: ``lane``, or ``command of USER`` of the operating system.
    """

    token: str
    outcome: str
    by: str = "lane"


class LaneStartedRecord(_Event, frozen=True, array_like=True, tag="LaneStarted"):
    """A lane is logged in, and signs from now on. ``lane``: 16 random bytes, chosen by the worker.

    ``serial``, ``model``: of the token, empty from a lane of a former version; ``build``: the worker's.
    """

    lane: bytes
    token: str
    serial: str
    model: str
    module: str
    sessions: int
    build: str


class KeyOperations(msgspec.Struct, frozen=True, array_like=True):
    """Number of calls of C_Sign with a key version."""

    key: Annotated[str, msgspec.Meta(max_length=64)]
    version: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    calls: Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class LaneOperationsRecord(_Event, frozen=True, array_like=True, tag="LaneOperations"):
    """Calls of C_Sign that a lane has made and reported since its last record of this kind, by key version."""

    lane: bytes
    operations: tuple[KeyOperations, ...]


class LaneEndedRecord(_Event, frozen=True, array_like=True, tag="LaneEnded"):
    """A lane that was logged in has exited. ``calls``: all calls of C_Sign that it has reported.

    ``in_doubt``: digests that it had and did not answer; each may have been a call that is in no number.
    """

    lane: bytes
    token: str
    reason: str
    calls: int
    in_doubt: int


class RefusedRecord(_Event, frozen=True, array_like=True, tag="Refused"):
    """A job that a client of the tenant signed was refused before it reached a lane; ``code``: the error's."""

    job_id: bytes
    client: str
    key: str
    algorithm: str
    digests: int
    code: str


class UnauthenticatedRecord(_Event, frozen=True, array_like=True, tag="Unauthenticated"):
    """Jobs that no client of the tenant had signed, by the code of the error, since the last record of this kind."""

    counts: dict[str, int]


class DirectoryRecord(_Event, frozen=True, array_like=True, tag="Directory"):
    """The service key has signed a key directory of the tenant, which is published after this is durable.

    ``sha256``: of the signed bytes; ``token`` and ``public_key_sha256``: of the service key.
    """

    token: str
    public_key_sha256: bytes
    epoch: int
    expires_at_ms: int
    sha256: bytes


class ConfigurationRecord(_Event, frozen=True, array_like=True, tag="Configuration"):
    """A worker has put a configuration file in force: the tenant's, or the service's, which each tenant's record has.

    ``sha256``: of the file's bytes; ``changed``: dotted names of its values that differ from those before, no values.
    """

    epoch: int
    sha256: bytes
    changed: tuple[str, ...] = ()


class StopOrderRecord(_Event, frozen=True, array_like=True, tag="StopOrder"):
    """A worker applies a stop order that an operator signed (``queueing.protocol.stop_orders``)."""

    order_id: bytes
    operator: str
    scope: str
    name: str
    reason: str


class KeyRecord(_Event, frozen=True, array_like=True, tag="Key"):
    """An operator changed a key of the tenant, or one of its versions, by a command on this host, or had it sign a request.

    ``event``: created, adopted, requested (the key signs a certificate request, once, in no lane), signed (the service key signs for a ceremony, once, in no lane), stated (a later origin statement), attached, rotated, activated, retired, revoked, set. ``version`` is 0 for the whole key;
    ``public_key_sha256`` (of the SubjectPublicKeyInfo), ``statement_sha256`` (of the origin statement; of the message that is ``signed``) are empty where there is
    none. ``by``: name of the operating system's user; ``changed``: names of changed values, no values.
    """

    event: str
    key: str
    version: int = 0
    public_key_sha256: bytes = b""
    statement_sha256: bytes = b""
    witnesses: tuple[str, ...] = ()
    by: str = ""
    changed: tuple[str, ...] = ()


EventRecord = (
    LoginRecord
    | LaneStartedRecord
    | LaneOperationsRecord
    | LaneEndedRecord
    | RefusedRecord
    | UnauthenticatedRecord
    | DirectoryRecord
    | ConfigurationRecord
    | StopOrderRecord
    | KeyRecord
)
