"""Records in a state directory, sealed by a key of the tests."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workers.record.sealer import Sealer

EPOCH_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def sealer(state_dir: Path) -> Sealer:
    return Sealer(state_dir, log_name="sigmill/prod", build="1.0", epoch_key=EPOCH_KEY)


def run_to_end(writer: Sealer) -> None:
    while writer.advance():
        pass
    writer.sign()


def seal(state_dir: Path) -> None:
    """Seal what the write-ahead log has."""
    run_to_end(sealer(state_dir))
