"""Authenticode: signatures nested in another one."""

from __future__ import annotations

from queueing.artifacts import authenticode, cms
from queueing.protocol import der
from tests.support.artifacts.local_signer import LocalSigner


def test_every_nested_signature_is_kept() -> None:
    """Also of a file that has them in several attributes."""
    key = LocalSigner.p256()
    unsigned = authenticode.unsigned(key.signer, authenticode.PE_IMAGE, bytes(32))
    made = unsigned.assemble(key.sign(unsigned.digest))
    nested = der.sequence(authenticode.NESTED_SIGNATURE, der.tagged(der.SET, made))
    outer = cms.read_signed_data(unsigned.assemble(b"outer", (nested, nested)))
    both = cms.read_signed_data(authenticode.with_nested(outer, made))
    assert len(authenticode.all_signatures(both)) == 4
