"""Kinds of rubbish: each is malformed, or a well-formed envelope that is refused for another reason."""

from __future__ import annotations

import pytest

from bench.load.rubbish import KINDS, SPECIMENS, Victim, specimens
from queueing.errors import EnvelopeMalformed, SigningError
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.envelope import read_unverified
from queueing.protocol.jobs import decode_job

VICTIM = Victim(audience="test", tenant="acme", algorithm=str(Algorithm.ECDSA_SHA_256))
READABLE = {"unsigned envelopes", "forged signatures", "unknown clients", "names that are not UTF-8"}
"""Their envelopes are well-formed: only the signature, the client or the id is wrong."""


@pytest.mark.parametrize("kind", KINDS)
def test_specimens_of_a_kind_differ(kind: str) -> None:
    """The same bytes again and again could be remembered."""
    made = specimens(kind, VICTIM)
    assert len({each.payload for each in made}) == SPECIMENS


@pytest.mark.parametrize("kind", sorted(READABLE))
def test_envelopes_of_a_wrong_signature_client_or_id_are_well_formed(kind: str) -> None:
    """Their refusal costs more than that of a malformed one."""
    read = read_unverified(decode_job(KINDS[kind](VICTIM).payload).sealed)
    assert read.envelope.tenant == VICTIM.tenant


@pytest.mark.parametrize("kind", sorted(set(KINDS) - READABLE))
def test_other_kinds_are_malformed(kind: str) -> None:
    """Too large, nested too deep, or with hints that are none."""
    with pytest.raises(SigningError) as caught:
        read_unverified(decode_job(KINDS[kind](VICTIM).payload).sealed)
    assert isinstance(caught.value, EnvelopeMalformed)


def test_names_that_are_no_text_are_none() -> None:
    """They cannot be decoded as UTF-8."""
    prefix = KINDS["names that are not UTF-8"](VICTIM).id_prefix
    with pytest.raises(UnicodeDecodeError):
        prefix.decode()
