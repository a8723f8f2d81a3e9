"""Notes of `sigmill sign-file` on the certificate of its key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from queueing.artifacts.cms import Signer
from queueing.artifacts.signing_key import SigningKey
from tests.support.artifacts.local_signer import LocalSigner
from workers.cli.artifacts.sign_file import tell_of_certificate

NOW = datetime.now(UTC)


@pytest.mark.parametrize("days, said", [(0, ""), (400, "expired on"), (-400, "is valid from")])
def test_a_certificate_that_is_not_valid_now_is_told(
    capsys: pytest.CaptureFixture[str], days: int, said: str
) -> None:
    """As the agent does at its start: the log of the build says why users' machines refuse the files."""
    tell_of_certificate(SigningKey("release/1", LocalSigner.p256().signer), NOW + timedelta(days=days))
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith("note: the certificate of `release/1`") == bool(said)


def test_raw_signatures_have_no_certificate(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is told."""
    key = LocalSigner.p256()
    tell_of_certificate(SigningKey("release/1", Signer.bare(key.signer.public_key, key.algorithm)), NOW)
    assert capsys.readouterr().err == ""
