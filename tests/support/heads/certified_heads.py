"""A host whose logs are sealed and certified by keys of the tests, and the heads that it publishes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from queueing.protocol.public_keys import PublicKey
from queueing.transparency.checkpoints import Checkpoint, read_checkpoint, sign_checkpoint
from queueing.transparency.notes import Ed25519NoteKey, read_note
from queueing.transparency.signed_heads import SignedHead
from tests.support.fakes.configurations import configuration, tenant
from tests.support.farm.certified_logs import SERVICE
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.config.service_file import ServiceKey
from workers.current_config import CurrentConfig
from workers.record.exchange import STATEMENTS


def config_of(state_dir: Path, tenants: Iterable[str] = ("acme",)) -> CurrentConfig:
    """A service ``prod`` with the service key of ``certify``."""
    made = configuration([tenant(name) for name in tenants], state_dir=state_dir)
    key = ServiceKey(token="service", public_key=PublicKey.from_spki(SERVICE.spki))
    service = dataclasses.replace(made.service, audience="prod", service_key=key)
    return CurrentConfig(dataclasses.replace(made, service=service))


def head_here(log: Path) -> Checkpoint:
    """The log's checkpoint."""
    return read_checkpoint(read_note((log / "checkpoint").read_bytes()).text)


def signed(log: Path, head: Checkpoint) -> bytes:
    """``head`` as if this log's sealer had signed it, with the log's first statement."""
    statement = min((log / STATEMENTS).iterdir()).read_bytes()
    note = sign_checkpoint(head, Ed25519NoteKey(head.origin, EPOCH_KEY))
    return SignedHead(checkpoint=note, statement=statement).encode()
