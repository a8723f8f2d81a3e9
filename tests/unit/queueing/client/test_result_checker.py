"""Results are believed only if they answer the request, and a version that may sign has signed them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from queueing.client.result_checker import ResultChecker
from queueing.client.signatures import Outcome, Signature
from queueing.client.signing_request import SigningRequest, Target
from queueing.errors import ReceiptMissing, ResultInvalid
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.jobs import JobOutcome, JobResult, ReceiptNotice
from queueing.protocol.public_keys import PublicKey
from tests.support.fakes.fake_directory import DirectorySetup
from tests.support.keys import sign_digest, spki_of

if TYPE_CHECKING:
    from queueing.protocol.key_directory import KeyState

DIGESTS = (b"a" * 32, b"b" * 32)
CONTENT = b"c" * 16
ALGORITHM = Algorithm.ECDSA_SHA_256


def request_for(version: int = 0) -> SigningRequest:
    """A request for both digests; version 0 is the active one."""
    return SigningRequest.of(Target("release", version, ALGORITHM), DIGESTS, "run")


def outcome_by(scene: DirectorySetup, version: int) -> JobOutcome:
    """A result whose signatures this version made."""
    key = scene.ring.versions[version]
    return JobOutcome(
        key="release",
        key_version=version,
        public_key_sha256=PublicKey.from_spki(spki_of(key)).sha256,
        algorithm=ALGORITHM,
        signatures=tuple(sign_digest(key, ALGORITHM, digest) for digest in DIGESTS),
    )


def two_versions(state: KeyState = "active") -> DirectorySetup:
    """A directory with version 1 in this state and version 2 active."""
    scene = DirectorySetup()
    scene.ring.versions[2] = ec.generate_private_key(ec.SECP256R1())
    scene.publish(state)
    return scene


async def checked(
    scene: DirectorySetup, request: SigningRequest, outcome: JobOutcome, content: bytes = CONTENT
) -> list[Outcome]:
    """Outcomes of the result; what is refused is refused also where signatures are not verified."""
    result = JobResult(outcome, content)
    await ResultChecker(scene.cache, verify=False).outcomes(request, CONTENT, "id", result)
    return await ResultChecker(scene.cache, verify=True).outcomes(request, CONTENT, "id", result)


@pytest.mark.parametrize("asked", [0, 1])
async def test_signatures_of_the_version_asked_for_are_returned(asked: int) -> None:
    """The active version answers a request without version; KEY/VERSION is answered by that version."""
    scene = two_versions()
    outcomes = await checked(scene, request_for(asked), outcome_by(scene, 1))
    assert [
        (outcome.key_version, outcome.verified) for outcome in outcomes if isinstance(outcome, Signature)
    ] == [(1, True)] * 2


async def test_a_result_by_another_version_than_the_one_asked_for_is_refused() -> None:
    """Both versions are active and the signatures verify: KEY/VERSION means this version alone."""
    scene = two_versions()
    with pytest.raises(ResultInvalid, match="another job"):
        await checked(scene, request_for(2), outcome_by(scene, 1))


@pytest.mark.parametrize("state", ["next", "retired", "revoked"])
async def test_a_signature_by_a_version_that_may_not_sign_is_refused(state: KeyState) -> None:
    """The signatures verify, but the directory does not vouch for their version any more, or not yet."""
    scene = two_versions(state)
    with pytest.raises(ResultInvalid, match="does not vouch"):
        await checked(scene, request_for(), outcome_by(scene, 1))
    with pytest.raises(ResultInvalid, match="does not vouch"):
        await ResultChecker(scene.cache, verify=True).unverified(
            "id", JobResult(outcome_by(scene, 1), CONTENT)
        )


@pytest.mark.parametrize(
    "changes",
    [{"key": "other"}, {"algorithm": "ECDSA_SHA_384"}, {"signatures": ()}, {"signatures": (b"x",) * 3}],
)
async def test_a_result_of_another_request_is_refused(changes: dict[str, object]) -> None:
    """Key, algorithm and number of signatures are those of the request."""
    scene = two_versions()
    with pytest.raises(ResultInvalid, match="another job"):
        await checked(scene, request_for(), replace(outcome_by(scene, 1), **changes))


async def test_a_result_for_other_content_is_refused() -> None:
    """The content hash is our own request's, whatever the signatures are worth."""
    scene = two_versions()
    with pytest.raises(ResultInvalid, match="another job"):
        await checked(scene, request_for(), outcome_by(scene, 1), b"x" * 16)


async def test_signatures_over_other_digests_are_refused_one_by_one() -> None:
    """A signature in the place of another digest's is ``ResultInvalid`` there; the others stand."""
    scene = two_versions()
    outcome = outcome_by(scene, 1)
    outcome = replace(outcome, signatures=(outcome.signatures[1], outcome.signatures[1]))
    outcomes = await checked(scene, request_for(), outcome)
    assert [type(each) for each in outcomes] == [ResultInvalid, Signature]


@pytest.mark.parametrize(
    "notice, text, announced",
    [
        (ReceiptNotice.FOLLOWS, "not collected", True),
        (ReceiptNotice.NO_RECORD, "keeps no record", False),
        (ReceiptNotice.NONE, "of a version without receipts", False),
    ],
)
async def test_a_signature_says_whether_its_receipt_follows(
    notice: ReceiptNotice, text: str, announced: bool
) -> None:
    """A worker of a version without receipts says nothing, and no client waits for it."""
    scene = two_versions()
    result = JobResult(outcome_by(scene, 2), CONTENT, notice)
    checker = ResultChecker(scene.cache, verify=True)
    for wanted in (True, False):
        request = replace(request_for(), receipt=wanted)
        outcomes = await checker.outcomes(request, CONTENT, "id", result)
        assert len(outcomes) == 2
        for outcome in outcomes:
            assert isinstance(outcome, Signature)
            missing = outcome.receipt_missing
            assert (missing is not None) is wanted
            if wanted:
                assert isinstance(missing, ReceiptMissing)
                assert (text in missing.message, missing.announced) == (True, announced)
