"""Idempotency keys, and the request ids that a CI run brings along.

The same request id, key, algorithm and digests always give the same idempotency key, hence the same job: a
run that was killed and starts again gets back what is done, and nothing is signed twice.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

_DOMAIN: Final = b"sigmill-request-v1\x00"
_PART_DOMAIN: Final = b"sigmill-request-part-v1\x00"
_KEY_BYTES: Final = 16

CI_VARIABLES: Final[tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = (
    ("explicit", ("SIGMILL_REQUEST_ID",), ()),
    ("github", ("GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_JOB"), ("GITHUB_SERVER_URL",)),
    ("gitlab", ("CI_PROJECT_ID", "CI_PIPELINE_ID", "CI_JOB_NAME"), ("CI_SERVER_HOST",)),
    ("azure", ("SYSTEM_COLLECTIONID", "BUILD_BUILDID"), ("SYSTEM_STAGENAME", "SYSTEM_JOBNAME")),
    ("buildkite", ("BUILDKITE_BUILD_ID",), ("BUILDKITE_STEP_KEY",)),
    ("jenkins", ("BUILD_TAG",), ("JENKINS_URL",)),
)
"""Per CI: the variables that must be there, and those that make the id narrower where they are.

They name the run and the job, never the attempt: the re-run of a killed job must get the same id. So no
GITHUB_RUN_ATTEMPT, no CI_JOB_ID (new at a retry), and no SYSTEM_JOBID ("a single attempt of a single job").
"""


@dataclass(frozen=True, slots=True)
class RequestId:
    """A request id, and the environment variables that it comes from."""

    value: str
    variables: tuple[str, ...]


def request_id_from(environ: Mapping[str, str]) -> RequestId | None:
    """The id of this CI run; None outside of a known CI."""
    for name, needed, narrowing in CI_VARIABLES:
        if all(environ.get(variable) for variable in needed):
            used = needed + tuple(variable for variable in narrowing if environ.get(variable))
            return RequestId("/".join((name, *(environ[variable] for variable in used))), used)
    return None


def idempotency_key(
    request_id: str | None, key: str, key_version: int, algorithm: str, digests: Sequence[bytes]
) -> bytes:
    """16 bytes: derived when there is a request id, random when there is none."""
    if request_id is None:
        return secrets.token_bytes(_KEY_BYTES)
    body = msgspec.msgpack.encode((request_id, key, key_version, algorithm, digests))
    return hashlib.sha256(_DOMAIN + body).digest()[:_KEY_BYTES]


def part_key(whole: bytes, start: int, count: int) -> bytes:
    """16 bytes: idempotency key of ``count`` digests from ``start`` of the request with the key ``whole``."""
    place = start.to_bytes(4, "big") + count.to_bytes(4, "big")
    return hashlib.sha256(_PART_DOMAIN + place + whole).digest()[:_KEY_BYTES]
