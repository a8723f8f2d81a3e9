"""Choice of the receipt that is made of a bundle: a digest may be in several jobs, and several times in one."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from queueing.artifacts.cms import read_signed_data
from queueing.errors import ProofInvalid
from queueing.protocol.jobs import ArqResult, JobOutcome, ResultHints, WireError, encode_result
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_jobs import append, sealed_envelope
from tests.support.farm.sealed_logs import seal
from tests.support.openssl import made
from workers.cli.audit import audit
from workers.cli.shell.output import Output
from workers.journal.records import IntentRecord, OutcomeRecord, Record, ReleasedRecord
from workers.journal.segment_writer import SegmentWriter
from workers.pki.receipts import receipt_of, signed_digest
from workers.record.bundle.writer import export
from workers.record.folder import log_folder

DIGEST, OTHER = b"a digest that is signed twice...", bytes(32)
RAW = bytes([1] * 64)
FIRST = encode_dss_signature(int.from_bytes(RAW[:32], "big"), int.from_bytes(RAW[32:], "big"))
"""The signature ``RAW`` (r || s) in DER, as the record has it."""


def job(number: int, digests: tuple[bytes, ...], signatures: Sequence[bytes | None]) -> list[Record]:
    name = b"job%d" % number
    errors = {at: WireError("policy.denied") for at, made in enumerate(signatures) if made is None}
    outcome = JobOutcome("release", 1, bytes(32), "ECDSA_SHA_256", tuple(signatures), errors)
    arq = ArqResult(et=1, s=True, r=outcome, k=ResultHints(), st=1, ft=1, q="q", id=name.decode())
    envelope = sealed_envelope("acme", number, digests)
    return [
        IntentRecord(number, "acme", name, b"w:1", 1, envelope, number.to_bytes(16)),
        OutcomeRecord(number, "acme", name, b"w:1", "", encode_result(arq)),
        ReleasedRecord(number, "acme", name, b"w:1", "committed"),
    ]


def bundle_of(folder: Path, *jobs: list[Record]) -> Path:
    """Bundle of these jobs, with the service key that certified it beside it."""
    append(SegmentWriter(folder / "state" / "wal"), *[record for each in jobs for record in each])
    seal(folder / "state")
    log = log_folder(folder / "state", "acme")
    certify(log)
    export(log, folder / "bundle")
    (folder / "service.keys").write_text(base64.b64encode(SERVICE.spki).decode())
    return folder / "bundle"


def run(command: str, *words: object, keys: Path) -> Result:
    options = [command, *map(str, words), "--service-key", str(keys)]
    return CliRunner().invoke(audit, options, obj=Output(as_json=True), standalone_mode=False)


def receipt(bundle: Path, *more: object) -> Result:
    return run("receipt", bundle, "--digest", DIGEST.hex(), *more, keys=bundle.parent / "service.keys")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """The digest was signed, signed twice in another job, and refused at last."""
    return bundle_of(
        tmp_path,
        job(1, (DIGEST, OTHER), [FIRST, b"of other"]),
        job(2, (OTHER, DIGEST, DIGEST), [b"of other", b"second", b"third"]),
        job(3, (DIGEST,), [None]),
    )


@pytest.mark.parametrize("written", [RAW, FIRST, b"second", b"third"], ids=["raw", "der", "second", "third"])
def test_a_receipt_is_made_of_the_signature_that_is_given(bundle: Path, written: bytes) -> None:
    """Also of an older one than the newest, and in either encoding."""
    file = bundle.parent / "release.sig"
    file.write_bytes(written)
    made = receipt(bundle, "--signature", file)
    assert made.exception is None
    recorded = FIRST if written == RAW else written
    assert json.loads(made.stdout)["signature_sha256"] == hashlib.sha256(recorded).hexdigest()


def test_a_signature_that_is_not_in_the_bundle_has_no_receipt(bundle: Path) -> None:
    """Nor has one that is there over another digest."""
    file = bundle.parent / "release.sig"
    file.write_bytes(b"of other")
    refused = receipt(bundle, "--signature", file).exception
    assert isinstance(refused, ProofInvalid)
    assert str(refused).startswith("this signature over the digest is not in this bundle")


def test_a_digest_that_was_refused_later_has_the_receipt_of_its_newest_signature(bundle: Path) -> None:
    line = json.loads(receipt(bundle).stdout)
    assert line["signature_sha256"] == hashlib.sha256(b"third").hexdigest()


def test_a_digest_that_was_never_signed_has_a_receipt_that_says_so(tmp_path: Path) -> None:
    line = json.loads(receipt(bundle_of(tmp_path, job(1, (DIGEST, OTHER), [None, b"of other"]))).stdout)
    assert (line["signature_sha256"], line["code"]) == ("", "policy.denied")


def test_a_cms_signature_gets_its_own_receipt_of_two_over_the_same_digest(tmp_path: Path) -> None:
    """A key signs the same attributes again after a rerun, and the newer signature is in another file."""
    (tmp_path / "release.bin").write_bytes(b"a release")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key")
    made("req", "-x509", *key, "-days", "30", "-subj", "/CN=release", "-out", tmp_path / "certificate")
    made(
        "cms", "-sign", "-binary", "-in", tmp_path / "release.bin", "-signer", tmp_path / "certificate",
        "-inkey", tmp_path / "key", "-outform", "DER", "-out", tmp_path / "release.p7s",
    )  # fmt: skip
    signed = (tmp_path / "release.p7s").read_bytes()
    digest, signature = signed_digest(signed, "sha256"), read_signed_data(signed).signature
    bundle = bundle_of(tmp_path, job(1, (digest,), [signature]), job(2, (digest,), [b"of a rerun"]))
    keys = tmp_path / "service.keys"
    done = run("cms-receipt", tmp_path / "release.p7s", "--from", bundle, keys=keys)
    assert done.exception is None
    assert json.loads(done.stdout)["signature_sha256"] == hashlib.sha256(signature).hexdigest()
    assert receipt_of((tmp_path / "release.p7s").read_bytes()) is not None


def test_a_receipt_of_another_tenant_than_the_given_one_is_refused(bundle: Path) -> None:
    """The service key proves the logs of all tenants, so that without a name any of them would do."""
    file = bundle.parent / "release.tlog-proof"
    assert receipt(bundle, "--out", file, "--tenant", "acme").exception is None
    for source in (bundle, file):
        words = ("receipt", source, "--digest", DIGEST.hex())
        refused = run(*words, "--tenant", "globex", keys=bundle.parent / "service.keys").exception
        assert isinstance(refused, ProofInvalid)
        assert "of another tenant: acme" in str(refused)


def test_an_empty_name_of_a_tenant_is_a_usage_error(bundle: Path) -> None:
    """Of a shell variable that is not set: any tenant would do."""
    assert isinstance(receipt(bundle, "--tenant", "").exception, click.BadParameter)
