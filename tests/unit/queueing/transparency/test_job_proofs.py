"""The proof of a job gives a receipt of each of its digests, and is believed for these digests, this tenant and this service only."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.commitments import Item
from queueing.transparency.job_proofs import MAX_JOB_PROOF_BYTES, JobProof, read_job_proof
from queueing.transparency.receipts import MOST_RECEIPT_BYTES, verify_receipt
from queueing.transparency.trusted_keys import TrustedKeys
from tests.support.farm.job_proofs import Log, items_of
from tests.support.keys import EcdsaNoteKey

DIGESTS = [hashlib.sha512(b"%d" % number).digest() for number in range(5)]
SIGNATURES = [b"signature %d" % number for number in range(5)]
ITEMS = items_of(DIGESTS, SIGNATURES)
LOG = Log(size=11)
PROOF = LOG.proof(ITEMS, index=7)


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_each_digest_of_a_job_gets_a_receipt_that_verifies_alone(count: int) -> None:
    """By the service key, with nothing but the receipt, the digest and the signature."""
    digests = [hashlib.sha256(b"%d" % number).digest() for number in range(count)]
    items = items_of(digests, digests)
    proof = read_job_proof(LOG.proof(items, index=3).encode())
    proof.verify(items, LOG.trusted, tenant="acme")
    receipts = list(proof.receipts(items))
    assert len(receipts) == count
    for number, receipt in enumerate(receipts):
        verified = verify_receipt(
            receipt, LOG.trusted, digest=digests[number], signature=digests[number], tenant="acme"
        )
        assert (verified.index, verified.item.number, verified.tenant) == (3, number, "acme")


def test_a_receipt_of_the_largest_job_in_a_log_of_a_million_entries_has_the_promised_size() -> None:
    """With its statement, and digests of SHA-512."""
    log = Log(size=1_000_000)
    digests = [hashlib.sha512(b"%d" % number).digest() for number in range(1024)]
    items = items_of(digests, digests)
    proof = log.proof(items, index=654_321)
    assert len(proof.encode()) <= 1700
    receipts = list(proof.receipts(items))
    assert max(map(len, receipts)) <= MOST_RECEIPT_BYTES
    verify_receipt(receipts[1000], log.trusted, digest=digests[1000], signature=digests[1000])


@pytest.mark.parametrize(
    "items",
    [
        items_of(DIGESTS[:4], SIGNATURES[:4]),
        items_of([bytes(64), *DIGESTS[1:]], SIGNATURES),
        items_of(DIGESTS, [b"another", *SIGNATURES[1:]]),
        items_of([DIGESTS[1], DIGESTS[0], *DIGESTS[2:]], SIGNATURES),
        [*ITEMS[:4], Item(4, DIGESTS[4], b"", "hsm.fault")],
    ],
    ids=["fewer", "another digest", "another signature", "another order", "an error"],
)
def test_the_proof_of_other_items_is_refused(items: list[Item]) -> None:
    with pytest.raises(ProofInvalid, match="other digests or signatures"):
        PROOF.verify(items, LOG.trusted, tenant="acme")


def test_a_log_of_another_tenant_proves_nothing() -> None:
    """Also where the other tenant had the same digest signed, under the same service key."""
    other = Log(tenant="other", service=LOG.service)
    with pytest.raises(ProofInvalid, match="of another tenant"):
        other.proof(ITEMS).verify(ITEMS, LOG.trusted, tenant="acme")
    (receipt, *_) = other.proof(ITEMS).receipts(ITEMS)
    with pytest.raises(ProofInvalid, match="of another tenant: other"):
        verify_receipt(receipt, LOG.trusted, digest=DIGESTS[0], tenant="acme")


@pytest.mark.parametrize(
    "trusted, why",
    [
        (TrustedKeys(), "none of the trusted keys"),
        (TrustedKeys(service=[EcdsaNoteKey("sigmill/prod/service").spki]), "none of the trusted keys"),
        (replace(LOG.trusted, audience="staging"), "of another service: prod"),
    ],
    ids=["no key", "another service key", "another audience"],
)
def test_a_receipt_that_the_pinned_service_did_not_certify_is_refused(trusted: TrustedKeys, why: str) -> None:
    (receipt, *_) = PROOF.receipts(ITEMS)
    with pytest.raises(ProofInvalid, match=why):
        PROOF.verify(ITEMS, trusted, tenant="acme")
    with pytest.raises(ProofInvalid, match=why):
        verify_receipt(receipt, trusted, digest=DIGESTS[0])


def test_a_receipt_without_a_statement_says_what_it_lacks() -> None:
    bare = msgspec.structs.replace(PROOF, statement=b"")
    with pytest.raises(ProofInvalid, match="it has no statement of the service key"):
        bare.verify(ITEMS, LOG.trusted, tenant="acme")


def test_a_key_that_was_certified_for_later_entries_signs_no_earlier_checkpoint() -> None:
    late = Log(size=11, certified_at=12, service=LOG.service)
    with pytest.raises(ProofInvalid, match="for later entries only"):
        late.proof(ITEMS).verify(ITEMS, LOG.trusted, tenant="acme")


def test_the_statement_about_another_key_does_not_certify_this_one() -> None:
    other = Log(size=11, service=LOG.service)
    mixed = msgspec.structs.replace(PROOF, statement=other.proof(ITEMS).statement)
    with pytest.raises(ProofInvalid, match="none of the trusted keys"):
        mixed.verify(ITEMS, LOG.trusted, tenant="acme")


@given(st.data())
def test_a_proof_with_one_changed_byte_is_refused(data: st.DataObject) -> None:
    raw = bytearray(PROOF.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofInvalid):
        read_job_proof(bytes(raw)).verify(ITEMS, LOG.trusted, tenant="acme")


@given(st.binary(max_size=300))
def test_a_value_that_is_no_proof_is_refused_in_one_way(raw: bytes) -> None:
    with pytest.raises(ProofInvalid):
        read_job_proof(raw).verify(ITEMS, LOG.trusted, tenant="acme")


def test_a_value_of_megabytes_is_not_decoded() -> None:
    with pytest.raises(ProofInvalid, match="at most"):
        read_job_proof(bytes(MAX_JOB_PROOF_BYTES + 1))


def test_a_later_version_may_append_fields() -> None:
    """This build reads what it knows."""
    longer = msgspec.msgpack.encode([*msgspec.msgpack.decode(PROOF.encode()), b"more"])
    assert isinstance(read_job_proof(longer), JobProof)
    read_job_proof(longer).verify(ITEMS, LOG.trusted, tenant="acme")
