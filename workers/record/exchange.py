"""Files that sealer and worker exchange: the sealer's status, its requests for origin statements, and the answers.

::

    sealer/lock, sealer/status            of the running sealer; the status is replaced about once a second
    sealer/receipts/NUMBER+TENANT         receipts, which the worker publishes (``receipts.outbox``)
    sealer/set-back                       the worker's order to begin a new record (``heads.set_back``)
    sealer/requests/TENANT+KEY            a request of the sealer; KEY: the first 16 hex digits of its epoch key
    record/logs/TENANT/statements/SIZE-KEY  the signed statement, which the worker writes; SIZE: the head where the key begins

The sealer does not wait for an answer: what it signs meanwhile is certified later. Statements are kept for ever; requests only for
the key of the running sealer. Status and requests are not synced: they say how a running process fares.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from queueing.errors import ProofInvalid
from queueing.files.durable_file import make_folder, replace_durably
from queueing.files.folders import entries, is_there, regular_entries
from queueing.files.regular_file import NOT_A_FILE, read_regular
from queueing.protocol.names import Name
from queueing.transparency.origin_statements import verify_statement
from workers.record.disk.misplaced import replace_by_rename

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.transparency.checkpoints import Checkpoint
    from queueing.transparency.notes import VerifierKey

SEALER_FOLDER: Final = "sealer"
"""Folder in the state directory."""

FailureReason = Literal[
    "damaged", "disk_full", "io", "unexpected", "later", "unreadable", "exited", "receipt", "head", "set_back"
]
"""Why sealing was interrupted. ``later``, ``unreadable``: a record of a later version, or what the disk does not give, was a gap; ``exited``: the process ended, as its worker saw it; ``receipt``: a receipt was dropped;
``head``: a head in Redis was none of the service's; ``set_back``: a head in Redis says that the record is an older copy."""

_LARGEST_STATUS_BYTES: Final = 16 * 1024 * 1024
"""Thousands of tenants, with names of at most 63 characters."""


class SealerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Progress and failures of the sealer of a state directory; counts are of its process.

    Times are of CLOCK_MONOTONIC, which all processes of a host share.
    ``covered_ns``: what was durable in the write-ahead log then is under a signed checkpoint; None: not yet so far.
    ``uncertified``: tenants whose log is signed with a key that the service key has not certified yet. ``former``: records
    that were given up, whose files are kept. ``oldest_ms``: Unix time of the oldest entry that is there; 0 without one.
    ``removed``: entries that retention has removed. ``damage``: places of the record's files that the scrubber found damaged, as
    ``TENANT/FILE: entry N``, a hundred at most; ``scrubbed``: entries that it has read again.
    """

    pid: int
    started_ns: int
    covered_ns: int | None = None
    entries: dict[str, int] = {}
    checkpoints: int = 0
    failures: dict[str, int] = {}
    record_bytes: int = 0
    uncertified: int = 0
    former: int = 0
    origin: str = ""
    segment: int = 0
    oldest_ms: int = 0
    removed: int = 0
    damage: tuple[str, ...] = ()
    scrubbed: int = 0

    def lag_s(self, now_ns: int) -> float:
        """Seconds since everything that was durable was under a signed checkpoint. A time of a former boot is in the future."""
        since = self.started_ns if self.covered_ns is None else self.covered_ns
        return max(now_ns - since, 0) / 1e9


def write_status(state_dir: Path, status: SealerStatus) -> None:
    """Replace the status. Raises ``OSError``."""
    folder = state_dir / SEALER_FOLDER
    make_folder(folder)
    _replace(folder / "status", msgspec.msgpack.encode(status))


def read_status(state_dir: Path) -> SealerStatus | None:
    """The last status; None where there is none that can be read."""
    try:
        raw = read_regular(state_dir / SEALER_FOLDER / "status", largest_bytes=_LARGEST_STATUS_BYTES)
        return msgspec.msgpack.decode(raw, type=SealerStatus)
    except (OSError, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None


STATEMENTS: Final = "statements"


def statement_files(log_folder: Path) -> list[Path]:
    """Statements about the keys of a log, by name; without drafts, of which a crash of their writer leaves a part, and what is no regular file. Raises ``OSError``."""
    files = regular_entries(log_folder / STATEMENTS, missing_ok=True)
    return [file for file in files if not is_draft(file.name)]


def is_draft(statement: str) -> bool:
    """Whether the name in a folder of statements is that of a file whose writer was killed; no statement has such a name."""
    return statement.startswith(".")


_LARGEST_REQUEST_BYTES: Final = 4096
_KEY_HEX: Final = 16
_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


def key_name(epoch_key: bytes) -> str:
    """An epoch key in the names of files."""
    return epoch_key.hex()[:_KEY_HEX]


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint's content as it is stored."""

    origin: Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,512}\Z")]
    size: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    root: _Hash

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Head:
        """The head of a checkpoint."""
        return cls(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root)


class StatementRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Request to certify ``epoch_key`` (Ed25519, 32 bytes) for a tenant's log from ``head`` on."""

    tenant: Name
    epoch_key: _Hash
    head: Head
    follows: Head | None = None

    @property
    def key_name(self) -> str:
        """The epoch key in file names."""
        return key_name(self.epoch_key)


class StatementRequests:
    """Folder of requests of one state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._requests = state_dir / SEALER_FOLDER / "requests"
        self._logs = state_dir / "record" / "logs"

    def ask(self, request: StatementRequest) -> None:
        """Write a request, unless it is there. Raises ``OSError``."""
        path = self._requests / f"{request.tenant}+{request.key_name}"
        if not is_there(path):
            make_folder(self._requests)
            _replace(path, msgspec.msgpack.encode(request))

    def forget_other_keys(self, epoch_key: bytes) -> None:
        """Remove the requests of sealers that are no more; a folder stays. Raises ``OSError``."""
        ours = f"+{key_name(epoch_key)}"
        for path in entries(self._requests, missing_ok=True):
            if not path.name.endswith(ours):
                with suppress(IsADirectoryError):
                    path.unlink(missing_ok=True)

    def tenants(self) -> set[str]:
        """Tenants of unanswered requests, by the names of the files; changes nothing. Raises ``OSError``."""
        return {path.name.partition("+")[0] for path in self._paths()}

    def __len__(self) -> int:
        """Number of unanswered requests. Raises ``OSError``."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        """Requests, without the draft of one."""
        return [path for path in entries(self._requests, missing_ok=True) if "+" in path.name]

    def waiting(self) -> Iterator[StatementRequest]:
        """Unanswered requests; a file that is none is removed. Raises ``OSError``."""
        for path in self._paths():
            try:
                raw = read_regular(path, largest_bytes=_LARGEST_REQUEST_BYTES)
                request = msgspec.msgpack.decode(raw, type=StatementRequest)
            except FileNotFoundError:
                continue
            except (msgspec.MsgspecError, ValueError, RecursionError):
                path.unlink(missing_ok=True)
                continue
            except OSError as error:
                if error.errno not in NOT_A_FILE:
                    raise
                with suppress(OSError):  # a folder stays, and is skipped
                    path.unlink()
                continue
            yield request

    def answer(self, request: StatementRequest, note: bytes, service_key: VerifierKey) -> None:
        """Keep the statement, and remove the request. Raises ``ProofInvalid`` where it is not the one asked for, or ``OSError``.

        Of a request that is not there any more nothing is kept: its log was given up, and the new one has another name.
        """
        statement = verify_statement(note, [service_key], request.head.origin)
        if (statement.epoch_key.public_key, Head.of(statement.head)) != (request.epoch_key, request.head):
            raise ProofInvalid("the statement is not the one that was requested")
        if request not in self.waiting():
            return
        folder = self._logs / request.tenant / STATEMENTS
        make_folder(folder)
        replace_durably(folder / f"{request.head.size:020d}-{request.key_name}", note)
        (self._requests / f"{request.tenant}+{request.key_name}").unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    """Replace atomically, not durably: a sealer writes it again at its start."""
    replace_by_rename(path, data, draft="new")
