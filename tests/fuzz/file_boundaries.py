"""Boundaries of files that are signed, of what time-stamp servers answer, and of events that wait; ``boundaries`` has them in its list."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from queueing.artifacts import authenticode, cms
from queueing.artifacts.cab import read_cab
from queueing.artifacts.embedded import Layout, signed_by
from queueing.artifacts.msi import read_msi
from queueing.artifacts.pe import read_pe
from queueing.artifacts.time_stamps.signing_certificate import SIGNING_CERTIFICATE_V2
from queueing.artifacts.time_stamps.tokens import TimeStampInvalid, TimeStampRequest
from queueing.errors import ArtifactInvalid
from queueing.protocol import der
from queueing.protocol.algorithms import Algorithm
from tests.fuzz.scratch import SCRATCH
from tests.support.artifacts.cab_files import cab_file
from tests.support.artifacts.msi_files import Content, compound_file
from tests.support.artifacts.pe_files import pe_file
from workers.journal.event_records import ConfigurationRecord, KeyRecord, LoginRecord
from workers.journal.event_spool import FOLDER_NAME, EventSpool
from workers.pki import receipts

_ROUND_TRIP: Final = b"a signature"


def _layout(read: Callable[[io.BytesIO, int], Layout], data: bytes) -> None:
    """A file that is read can be signed: the signed file has the same digest, and this signature alone."""
    with suppress(ArtifactInvalid):
        source, to = io.BytesIO(data), io.BytesIO()
        layout = read(source, len(data))
        digest = layout.digest(source, "sha256")
        assert layout.write(source, to, (_ROUND_TRIP,), "sha256") == digest
        signed = read(to, len(to.getvalue()))
        assert signed.digest(to, "sha256") == digest
        assert [each.rstrip(b"\0") for each in signed.signatures] == [_ROUND_TRIP]
        assert len(to.getvalue()) <= len(data) + (64 << 10)


def pe(data: bytes) -> None:
    """A program."""
    _layout(read_pe, data)


def cab(data: bytes) -> None:
    """A cabinet."""
    _layout(read_cab, data)


def msi(data: bytes) -> None:
    """A package, and every other compound file."""
    _layout(read_msi, data)


def signed_data(data: bytes) -> None:
    """The signature in a file that somebody else signed: it is shown, kept beside another one, and compared."""
    assert signed_by(data)
    with suppress(der.DerInvalid):
        read = cms.read_signed_data(data)
        assert not authenticode.is_by(read, _SIGNER, bytes(32))
        count = len(authenticode.all_signatures(read))
        both = authenticode.with_nested(read, _TOKEN)
        assert len(authenticode.all_signatures(cms.read_signed_data(both))) == count + 1


def signed_receipt(data: bytes) -> None:
    """A CMS signature with a receipt."""
    with suppress(der.DerInvalid):
        receipts.receipt_of(data)
        assert receipts.receipt_of(receipts.with_receipt(data, b"another")) == b"another"


def time_stamp(data: bytes) -> None:
    """The answer of a time-stamp server."""
    with suppress(TimeStampInvalid):
        stamp = _REQUEST.opened(data)
        assert stamp.token in data
        assert stamp.at == _AT


def event_spool(data: bytes) -> None:
    """A file among those that wait for the worker: what is in it can be put into the log."""
    spool = EventSpool(SCRATCH)
    folder = SCRATCH / FOLDER_NAME
    folder.mkdir(exist_ok=True)
    (folder / "1.event").write_bytes(data)
    (waiting,) = spool.waiting()
    assert waiting.error is None
    assert all(msgspec.msgpack.encode(record) for record in waiting.records)


_KEY_NUMBER: Final = 5
_KEY: Final = ec.derive_private_key(_KEY_NUMBER, ec.SECP256R1())
_AT: Final = datetime(2030, 1, 1, tzinfo=UTC)


def _certificate() -> bytes:
    """Certificate for time-stamps, by an authority whose signatures are the same in each run."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]))
        .public_key(_KEY.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(_KEY.public_key()), critical=False)
    )
    issuer = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([2] * 32))
    return builder.sign(issuer, None).public_bytes(Encoding.DER)


_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_BASE_X: Final = ec.derive_private_key(1, ec.SECP256R1()).public_key().public_numbers().x


def _sign(digest: bytes) -> bytes:
    """ECDSA with the nonce 1: the seeds are the same in each run."""
    return encode_dss_signature(
        _BASE_X % _ORDER, (int.from_bytes(digest, "big") + _BASE_X * _KEY_NUMBER) % _ORDER
    )


_SIGNER: Final = cms.Signer.of((_certificate(),), Algorithm.ECDSA_SHA_256)
_REQUEST: Final = TimeStampRequest(hash_name="sha256", imprint=hashlib.sha256(b"").digest(), nonce=9)


def _token() -> bytes:
    imprint = der.sequence(cms.digest_algorithm("sha256"), der.octets(_REQUEST.imprint))
    time = der.tagged(der.GENERALIZED_TIME, _AT.strftime("%Y%m%d%H%M%SZ").encode())
    info = der.sequence(
        der.integer(1), der.oid("1.2.3.4"), imprint, der.integer(1), time, der.integer(_REQUEST.nonce)
    )
    unsigned = cms.Unsigned.of(
        _SIGNER,
        hashlib.sha256(info).digest(),
        content_type=der.oid("1.2.840.113549.1.9.16.1.4"),
        content=der.octets(info),
        more=(cms.attribute(SIGNING_CERTIFICATE_V2, _reference()),),
    )
    return unsigned.assemble(_sign(unsigned.digest))


def _reference() -> bytes:
    """SigningCertificateV2 with all of its fields."""
    certificate = _SIGNER.certificates[0]
    issuer, serial = der.read(_SIGNER.identifier).fields(der.SEQUENCE, 2)
    names = der.sequence(der.sequence(der.context(4, issuer.encoded)), serial.encoded)
    digest = der.octets(hashlib.sha256(certificate).digest())
    return der.sequence(der.sequence(der.sequence(cms.digest_algorithm("sha256"), digest, names)))


def _signatures() -> tuple[bytes, ...]:
    """Of another file by this signer: with a time-stamp, and with a further one in it."""
    unsigned = authenticode.unsigned(_SIGNER, authenticode.PE_IMAGE, hashlib.sha256(b"x").digest())
    plain = unsigned.assemble(_sign(unsigned.digest), (cms.attribute(authenticode.TIME_STAMP, _TOKEN),))
    return plain, authenticode.with_nested(cms.read_signed_data(plain), plain) + bytes(3)


_TOKEN: Final = _token()


def _refusal() -> bytes:
    words = der.sequence(der.utf8("bad request"))
    return der.sequence(der.sequence(der.integer(2), words))


def _signed(read: Callable[[io.BytesIO, int], Layout], raw: bytes) -> bytes:
    to = io.BytesIO()
    read(io.BytesIO(raw), len(raw)).write(io.BytesIO(raw), to, (b"first",), "sha256")
    return to.getvalue()


def _programs() -> tuple[bytes, ...]:
    plain = (pe_file(), pe_file(overlay=b"odd"), pe_file(kind="pe32"), pe_file(subsystem=10))
    return (*plain, _signed(read_pe, plain[0]))


def _packages() -> tuple[bytes, ...]:
    content: Content = {"Property": b"small", "cab": b"x" * 4096, "Sub": {"Inner": b"i" * 64}}
    plain = (compound_file(content), compound_file({"a": b"1", "b": b"2", "c": b""}))
    return (*plain, _signed(read_msi, plain[1]))


def _events() -> tuple[bytes, ...]:
    records = (
        KeyRecord(1, "acme", "created", "release", 1, bytes(32), bytes(32), ("ada",), "root", ("a.b",)),
        LoginRecord(2, "", "acme", "CKR_PIN_INCORRECT", "doctor"),
        ConfigurationRecord(3, "acme", 4, bytes(32), ("limits.rate_per_s",)),
    )
    return (msgspec.msgpack.encode(records),)


_STAMPED: Final = _signatures()

FILE_BOUNDARIES: Final[dict[str, tuple[Callable[[bytes], None], tuple[bytes, ...]]]] = {
    "cab": (cab, (cab_file(), _signed(read_cab, cab_file()))),
    "event-spool": (event_spool, _events()),
    "msi": (msi, _packages()),
    "pe": (pe, _programs()),
    "signed-data": (signed_data, _STAMPED),
    "signed-receipt": (signed_receipt, (receipts.with_receipt(_STAMPED[0], b"receipt"), _STAMPED[1])),
    "time-stamp": (time_stamp, (der.sequence(der.sequence(der.integer(0)), _TOKEN),)),
}
"""Function and seeds of each."""
