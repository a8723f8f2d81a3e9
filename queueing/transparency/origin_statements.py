"""Origin statements: the service key certifies the key that signs the checkpoints of a tenant's log on one host.

The text of the note, which the key ``LOG NAME/service`` signs::

    sigmill-origin/v1
    AUDIENCE
    ORIGIN
    verifier key of the epoch key, whose name is the origin
    from SIZE ROOT                       head at which the epoch key begins; root in base64
    follows ORIGIN SIZE ROOT             newest head of the origin that was given up for this one, or: follows none
    HOST BUILD TIME UNTIL                RFC 3339, in UTC
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint
from queueing.transparency.notes import VerifierKey, read_verifier_key, verified_text

KIND: Final = "sigmill-origin/v1"
_LINES: Final = 7
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_NOT_IN_A_WORD: Final = re.compile(r"[^!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginStatement:
    """Statement of the service key about a log. ``head`` has its origin; ``epoch_key`` signs its checkpoints from there on.

    ``follows``: newest head of a former origin of this host, of which this log is the continuation.
    """

    audience: str
    epoch_key: VerifierKey
    head: Checkpoint
    follows: Checkpoint | None
    host: str
    build: str
    issued: datetime
    expires: datetime

    @property
    def text(self) -> str:
        """The note's text."""
        follows = "none" if self.follows is None else f"{self.follows.origin} {_size_and_root(self.follows)}"
        last = (one_word(self.host), one_word(self.build), _written(self.issued), _written(self.expires))
        return (
            f"{KIND}\n{self.audience}\n{self.head.origin}\n{self.epoch_key.text}\n"
            f"from {_size_and_root(self.head)}\nfollows {follows}\n{' '.join(last)}\n"
        )


def one_word(text: str) -> str:
    """The text without blanks and control characters, for a line of words."""
    return _NOT_IN_A_WORD.sub("-", text) or "-"


def read_statement(text: str) -> OriginStatement:
    """A statement from the verified text of a note. Raises ``ProofInvalid``."""
    lines = text.split("\n")
    if len(lines) != _LINES + 1 or lines[-1] or lines[0] != KIND:
        raise ProofInvalid(f"the note is no statement of the kind {KIND}")
    _, audience, origin, key, start, follows, last = lines[:_LINES]
    epoch_key = read_verifier_key(key)
    words = last.split(" ")
    if epoch_key.name != origin or len(words) != 4 or not start.startswith("from "):
        raise ProofInvalid(f"the statement about {origin[:80]} is not in its form")
    statement = OriginStatement(
        audience=audience,
        epoch_key=epoch_key,
        head=_read_head(origin, start.removeprefix("from ")),
        follows=_read_follows(follows),
        host=words[0],
        build=words[1],
        issued=_read_time(words[2]),
        expires=_read_time(words[3]),
    )
    if statement.text != text:
        raise ProofInvalid(f"the statement about {origin[:80]} is not in its one form")
    return statement


def verify_statement(data: bytes, trusted: list[VerifierKey], origin: str) -> OriginStatement:
    """A statement about ``origin`` that at least one trusted key of the service signed. Raises ``ProofInvalid``.

    Whether it is still valid at some time is the caller's question: a checkpoint has no time.
    """
    statement = read_statement(verified_text(data, trusted))
    if statement.head.origin != origin:
        raise ProofInvalid(f"the statement is about {statement.head.origin[:80]!r}, not {origin[:80]!r}")
    return statement


def _size_and_root(head: Checkpoint) -> str:
    return f"{head.size} {base64.b64encode(head.root).decode()}"


def _read_head(origin: str, words: str) -> Checkpoint:
    size, _, root = words.partition(" ")
    return read_checkpoint(f"{origin}\n{size}\n{root}\n")


def _read_follows(line: str) -> Checkpoint | None:
    if line == "follows none":
        return None
    origin, _, words = line.removeprefix("follows ").partition(" ")
    return _read_head(origin, words)


def _written(time: datetime) -> str:
    return time.astimezone(UTC).strftime(_TIME)


def _read_time(word: str) -> datetime:
    try:
        return datetime.strptime(word, _TIME).replace(tzinfo=UTC)
    except ValueError:
        raise ProofInvalid(f"{word[:40]!r} is no time in RFC 3339, in UTC") from None
