"""Origin statements of the service's lane: it writes every line itself, and signs nothing else for the record.

A worker chooses which epoch key it wants certified for which tenant, and what head that key begins with; not the audience,
the name of the log, the host, the build or the dates. The text begins with its kind, as no other format that is signed does.
"""

from __future__ import annotations

import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from queueing.errors import EnvelopeMalformed
from queueing.protocol.algorithms import Algorithm
from queueing.transparency.checkpoints import Checkpoint
from queueing.transparency.notes import ECDSA, ED25519, VerifierKey, signature_line
from queueing.transparency.origin_statements import OriginStatement
from workers.lanes.canary import service_version

if TYPE_CHECKING:
    from workers.config.service_file import ServiceConfiguration
    from workers.lanes.process.session_threads import SessionThread
    from workers.lanes.protocol import SignStatement

VALID_FOR: Final = timedelta(days=30)
"""Four times the week after which the sealer asks again: a token that is away for some days makes no gap."""


def statement_of(request: SignStatement, service: ServiceConfiguration, now_s: float) -> OriginStatement:
    """The statement that is requested, about a log of this service. Raises ``EnvelopeMalformed``."""
    origin = f"{service.log_name}/{request.tenant}/{request.origin}"
    follows = request.follows
    if follows is not None and follows.origin.split("/")[-2:-1] != [request.tenant]:
        raise EnvelopeMalformed("a log follows only a log of the same tenant")
    issued = datetime.fromtimestamp(int(now_s), UTC)
    return OriginStatement(
        audience=service.audience,
        epoch_key=VerifierKey(origin, ED25519, request.epoch_key),
        head=Checkpoint(origin, request.size, request.root),
        follows=None if follows is None else Checkpoint(follows.origin, follows.size, follows.root),
        host=os.uname().nodename,
        build=version("sigmill"),
        issued=issued,
        expires=issued + VALID_FOR,
    )


def sign_statement(request: SignStatement, service: ServiceConfiguration, thread: SessionThread) -> bytes:
    """The statement as a note that the service key signed. Raises a ``SigningError``: the key must be P-256."""
    text = statement_of(request, service, time.time()).text
    key = service_version(service.service_key)
    signature = thread.signer(key).sign(Algorithm.ECDSA_SHA_256, hashlib.sha256(text.encode()).digest())
    return f"{text}\n{signature_line(service_note_key(service), signature)}".encode()


def service_note_key(service: ServiceConfiguration) -> VerifierKey:
    """The service key as the verifier of its notes."""
    return VerifierKey(f"{service.log_name}/service", ECDSA, service.service_key.public_key.spki)
