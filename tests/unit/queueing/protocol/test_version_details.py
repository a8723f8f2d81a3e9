"""Creation time and further chains reach new clients, and keep no client of 0.1.0 from reading the directory."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.protocol.algorithms import Algorithm
from queueing.protocol.key_directory import (
    KeyDirectory,
    KeyEntry,
    KeyState,
    KeyVersionEntry,
    encode_directory,
)
from queueing.protocol.version_details import VersionDetails, pack_details, unpack_details


class VersionOf010(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As 0.1.0 had it."""

    version: int
    state: KeyState
    public_key: bytes
    certificates: tuple[bytes, ...] = ()


class EntryOf010(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As 0.1.0 had it."""

    algorithms: tuple[Algorithm, ...]
    default_algorithm: Algorithm
    versions: tuple[VersionOf010, ...]


class DirectoryOf010(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As 0.1.0 had it."""

    version: int = 1
    audience: str
    tenant: str
    epoch: int
    issued_at_ms: int
    expires_at_ms: int
    keys: dict[str, EntryOf010]


LEAF, ISSUER = b"\x30leaf", b"\x30issuer"
FULL = KeyVersionEntry(
    version=1, state="active", public_key=b"spki", certificates=(LEAF, ISSUER), chains={"other": (LEAF,)},
    created_at_ms=1_790_000_000_000,
)  # fmt: skip


def directory(version: KeyVersionEntry) -> KeyDirectory:
    entry = KeyEntry(
        algorithms=(Algorithm.ED25519,), default_algorithm=Algorithm.ED25519, versions=(version,)
    )
    return KeyDirectory(
        audience="a", tenant="acme", epoch=1, issued_at_ms=1, expires_at_ms=2, keys={"release": entry}
    )


@given(
    st.lists(st.binary(max_size=20).map(lambda raw: b"\x30" + raw), max_size=3),
    st.dictionaries(st.text(max_size=8), st.lists(st.binary(max_size=20), max_size=3).map(tuple), max_size=3),
    st.none() | st.integers(min_value=0, max_value=2**53),
)
def test_details_come_back_as_they_were(
    certificates: list[bytes], chains: dict[str, tuple[bytes, ...]], created_at_ms: int | None
) -> None:
    """With any chains, and without; what has no details travels as it is."""
    details = VersionDetails(1, created_at_ms, chains)

    packed = pack_details(certificates, details)

    assert unpack_details(packed) == (tuple(certificates), None if details == VersionDetails() else details)
    assert (len(packed) > len(certificates)) == bool(chains or created_at_ms is not None)


def test_a_client_of_0_1_0_reads_a_directory_with_details() -> None:
    """It refuses unknown fields, so there are none; its first certificates are those that it knew."""
    raw = encode_directory(directory(FULL))

    (version,) = msgspec.msgpack.decode(raw, type=DirectoryOf010).keys["release"].versions
    assert version.certificates[:2] == (LEAF, ISSUER)
    assert len(version.certificates) == 3


def test_a_directory_of_0_1_0_is_read() -> None:
    """Without details, and with an empty list of certificates written out."""
    version = VersionOf010(version=1, state="active", public_key=b"spki")
    entry = EntryOf010(
        algorithms=(Algorithm.ED25519,), default_algorithm=Algorithm.ED25519, versions=(version,)
    )
    raw = msgspec.msgpack.encode(
        DirectoryOf010(
            audience="a", tenant="acme", epoch=1, issued_at_ms=1, expires_at_ms=2, keys={"release": entry}
        )
    )

    (read,) = msgspec.msgpack.decode(raw, type=KeyDirectory).keys["release"].versions
    assert read == KeyVersionEntry(version=1, state="active", public_key=b"spki")


def test_fields_of_a_later_version_are_ignored() -> None:
    """So that the next version may add some."""
    later = msgspec.msgpack.decode(encode_directory(directory(FULL)))
    later["later"] = later["keys"]["release"]["later"] = later["keys"]["release"]["versions"][0]["later"] = 1

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(later), type=KeyDirectory).epoch == 1


@pytest.mark.parametrize("item", [b"", b"\x93\x02\xc0\x80", b"\xc1", b"\x93\x01\xff\x80", b"\x91" * 5000])
def test_details_of_a_later_form_are_left_out(item: bytes) -> None:
    """The certificates are still there; the directory was signed by the service, so nothing is refused for it."""
    assert unpack_details((LEAF, item)) == ((LEAF,), None)
