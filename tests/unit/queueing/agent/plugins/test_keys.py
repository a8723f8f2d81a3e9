"""Keys of plugins: ECDSA signatures in DER."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.plugins.keys import ecdsa_der


@pytest.mark.parametrize("half", [32, 48, 66])
@given(data=st.data())
def test_an_ecdsa_signature_in_der_has_its_numbers(half: int, data: st.DataObject) -> None:
    """For each curve, and for numbers with leading zeros or ones."""
    r, s = (data.draw(st.integers(1, 2 ** (8 * half) - 1)) for _ in range(2))
    assert decode_dss_signature(ecdsa_der(r.to_bytes(half, "big") + s.to_bytes(half, "big"))) == (r, s)
