"""Verifies an entry of a log by sigstore-python: the signature of the checkpoint, and the inclusion proof.

    python verify_entry.py ENTRY.json

Run by the interpreter of an environment with sigstore, without the code of this project. The file has ``entry`` (a
TransparencyLogEntry in the JSON of Sigstore's protobufs) and ``key`` (of the log, SubjectPublicKeyInfo in base64).
Prints ``ok``, or the error and exits with 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import verify_checkpoint
from sigstore._internal.trust import Keyring, RekorKeyring
from sigstore.errors import Error
from sigstore.models import TransparencyLogEntry
from sigstore_models.common.v1 import PublicKey
from sigstore_models.rekor.v1 import TransparencyLogEntry as Message


def main() -> int:
    """Exit code."""
    given = json.loads(Path(sys.argv[1]).read_bytes())
    key = PublicKey.from_json(json.dumps({"rawBytes": given["key"], "keyDetails": "PKIX_ED25519"}))
    try:
        entry = TransparencyLogEntry(Message.from_json(json.dumps(given["entry"])))
        verify_checkpoint(RekorKeyring(Keyring([key])), entry)
        verify_merkle_inclusion(entry)
    except Error as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    sys.stdout.write("ok\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
