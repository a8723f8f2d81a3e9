"""Idempotency keys repeat with the run, and the run's id survives its attempts."""

from __future__ import annotations

import pytest

from queueing.client.request_ids import idempotency_key, request_id_from

GITHUB = {"GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7", "GITHUB_JOB": "sign"}


def test_the_same_request_gives_the_same_key() -> None:
    """A function of request id, key, version, algorithm and digests."""
    arguments = ("run", "release", 0, "ECDSA_SHA_256", [b"a" * 32, b"b" * 32])
    assert idempotency_key(*arguments) == idempotency_key(*arguments)
    assert len(idempotency_key(*arguments)) == 16


@pytest.mark.parametrize(
    "other",
    [
        ("run2", "k", 0, "A", [b"ab", b"c"]),
        ("run", "k2", 0, "A", [b"ab", b"c"]),
        ("run", "k", 1, "A", [b"ab", b"c"]),
        ("run", "k", 0, "A2", [b"ab", b"c"]),
        ("run", "k", 0, "A", [b"a", b"bc"]),
        ("run", "k", 0, "A", [b"c", b"ab"]),
    ],
)
def test_anything_else_gives_another_key(other: tuple[str, str, int, str, list[bytes]]) -> None:
    """No two inputs run into each other."""
    assert idempotency_key(*other) != idempotency_key("run", "k", 0, "A", [b"ab", b"c"])


def test_without_a_request_id_keys_are_random() -> None:
    """Two calls are two jobs."""
    assert idempotency_key(None, "k", 0, "A", [b"d"]) != idempotency_key(None, "k", 0, "A", [b"d"])


@pytest.mark.parametrize(
    "environ",
    [
        GITHUB,
        {"CI_PROJECT_ID": "1", "CI_PIPELINE_ID": "2", "CI_JOB_NAME": "sign"},
        {"SYSTEM_COLLECTIONID": "c", "BUILD_BUILDID": "3", "SYSTEM_JOBNAME": "sign"},
        {"BUILD_TAG": "jenkins-x-1"},
        {"BUILDKITE_BUILD_ID": "b"},
        {"SIGMILL_REQUEST_ID": "mine"},
    ],
)
def test_each_ci_names_its_run(environ: dict[str, str]) -> None:
    """The id has the variables' values, and says which they were."""
    found = request_id_from(environ)
    assert found is not None
    assert set(found.variables) == set(environ)
    assert all(value in found.value for value in environ.values())


def test_an_attempt_does_not_change_the_id() -> None:
    """A re-run of a killed run must get back what is done."""
    first = request_id_from({**GITHUB, "GITHUB_RUN_ATTEMPT": "1"})
    assert first == request_id_from({**GITHUB, "GITHUB_RUN_ATTEMPT": "2"})


def test_outside_of_a_ci_there_is_none() -> None:
    """Empty or partial variables are no run."""
    assert request_id_from({}) is None
    assert request_id_from({**GITHUB, "GITHUB_JOB": ""}) is None


def test_an_explicit_id_wins() -> None:
    """SIGMILL_REQUEST_ID is taken before the CI's own."""
    found = request_id_from({**GITHUB, "SIGMILL_REQUEST_ID": "mine"})
    assert found is not None
    assert found.variables == ("SIGMILL_REQUEST_ID",)
