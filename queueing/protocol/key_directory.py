"""The key directory: a tenant's keys as the service publishes them, signed by the service key.

Wire form (msgpack)::

    signed   = [body: bin, signature: bin, service_key_sha256: bin32]
    body     = a ``KeyDirectory`` as map

The signature is made by the service key's default algorithm over SHA-256 (or the key's hash) of
``DOMAIN + body``. Clients pin the service key, never signing keys, so keys rotate without touching them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol

import msgspec

from queueing.errors import QueueUnavailable, ResultInvalid
from queueing.errors.durations import in_words
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, FACTS, Algorithm, KeyKind
from queueing.protocol.names import Name
from queueing.protocol.version_details import VersionDetails, pack_details, unpack_details

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DOMAIN: Final = b"sigmill-directory-v1\x00"

LARGEST_EPOCH: Final = 2**53 - 1
"""The largest integer that JSON and Lua carry exactly (RFC 8259, section 6). A configuration file may have it."""

KeyState = Literal["next", "active", "verify-only", "retired", "revoked"]
"""``next`` is announced; ``active`` signs; ``verify-only`` signed once; ``retired`` and ``revoked`` never again."""


class KeyVersionEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One version of a key. ``public_key`` is its SPKI in DER; certificates are DER, leaf first.

    ``chains``: those of further authorities by name. ``created_at_ms``: when the token made the key (Unix ms), if known.
    """

    version: int
    state: KeyState
    public_key: bytes
    certificates: tuple[bytes, ...] = ()
    chains: dict[str, tuple[bytes, ...]] = {}
    created_at_ms: int | None = None


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One key: what it signs with, and its versions from old to new."""

    algorithms: tuple[Algorithm, ...]
    default_algorithm: Algorithm
    versions: tuple[KeyVersionEntry, ...]


class KeyDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """All keys of a tenant at one epoch. Epochs only grow; times are Unix ms of the service's clock.

    Unknown fields are ignored; a form that older readers must not believe has another ``version``.
    """

    version: Literal[1] = 1
    audience: str
    tenant: Name
    epoch: Annotated[int, msgspec.Meta(ge=0)]
    issued_at_ms: int
    expires_at_ms: int
    keys: dict[Name, KeyEntry]


class _Signed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    body: bytes
    signature: bytes
    service_key_sha256: bytes


class DirectoryHead(msgspec.Struct, frozen=True):
    """Epoch and end of a directory; Unix ms."""

    epoch: int
    expires_at_ms: int


class ServicePublicKey(Protocol):
    """A pinned service key (``queueing.protocol.public_keys.PublicKey``)."""

    @property
    def kind(self) -> KeyKind:
        """Kind of the service key, which decides the algorithm of the directory's signature."""

    @property
    def sha256(self) -> bytes:
        """The fingerprint of its SPKI, 32 bytes."""

    def verify(self, algorithm: Algorithm, digest: bytes, signature: bytes) -> None:
        """Raise ``ResultInvalid`` unless the signature is this key's."""


_decoder = msgspec.msgpack.Decoder(KeyDirectory)
_signed_decoder = msgspec.msgpack.Decoder(_Signed)
_head_decoder = msgspec.msgpack.Decoder(DirectoryHead)


def directory_digest(body: bytes, algorithm: Algorithm) -> bytes:
    """Message that the service key signs: the algorithm's hash of the domain and the body (Ed25519: SHA-512)."""
    return hashlib.new(FACTS[algorithm].hash_name or "sha512", DOMAIN + body).digest()


def encode_directory(directory: KeyDirectory) -> bytes:
    """The body that is signed."""
    return msgspec.msgpack.encode(_with_versions(directory, _as_it_travels))


def encode_signed(body: bytes, signature: bytes, service_key_sha256: bytes) -> bytes:
    """The directory as it is published."""
    return msgspec.msgpack.encode(_Signed(body, signature, service_key_sha256))


_WRONG_SERVICE_KEY: Final = (
    "Compare `service_public_keys` in client.toml with the key that the operator printed; it changes with a rollover. If they"
    " are equal, tell the operator: another program writes to Redis."
)
_WRONG_NAMES: Final = "Compare `audience` and `tenant` in client.toml with the operator's."


def directory_head(raw: bytes) -> DirectoryHead:
    """Epoch and end of a directory, for the worker whose own lane has signed it: nothing is verified.

    Raises ``ResultInvalid`` (final) where it cannot be read.
    """
    try:
        return _head_decoder.decode(_signed_decoder.decode(raw).body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ResultInvalid("the key directory cannot be read") from None


def open_directory(
    raw: bytes,
    *,
    audience: str,
    tenant: str,
    pinned: Sequence[ServicePublicKey],
    newest_epoch: int,
    now_ms: int,
) -> KeyDirectory:
    """Read a published directory and believe it only if a pinned service key signed it.

    Raises ``ResultInvalid`` (final) when it is damaged, false, of another cluster or tenant, or of an epoch
    older than ``newest_epoch``, the newest that this client has seen; ``QueueUnavailable`` (retryable) when it
    has expired, because no worker has renewed it.
    """
    try:
        signed = _signed_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ResultInvalid("the key directory cannot be read") from None
    signer = next((key for key in pinned if key.sha256 == signed.service_key_sha256), None)
    if signer is None:
        raise ResultInvalid(
            "the key directory is not signed by a pinned service key", hint=_WRONG_SERVICE_KEY
        )
    algorithm = DEFAULT_FOR_KEY[signer.kind]
    signer.verify(algorithm, directory_digest(signed.body, algorithm), signed.signature)
    try:
        directory = _decoder.decode(signed.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ResultInvalid("the key directory has a form that this client does not know") from None
    if (directory.audience, directory.tenant) != (audience, tenant):
        raise ResultInvalid(
            f"the key directory is of audience {directory.audience!r} and tenant {directory.tenant!r}, not of {audience!r}"
            f" and {tenant!r}",
            hint=_WRONG_NAMES,
        )
    if directory.epoch < newest_epoch:
        raise ResultInvalid(f"the key directory is of epoch {directory.epoch}, already seen: {newest_epoch}")
    if directory.expires_at_ms < now_ms:
        late = in_words((now_ms - directory.expires_at_ms) / 1000)
        raise QueueUnavailable(
            f"the key directory expired {late} ago by this host's clock; is the clock right, and is a worker running?"
        )
    return _with_versions(directory, _as_callers_get_it)


def _as_it_travels(version: KeyVersionEntry) -> KeyVersionEntry:
    """The version with its details among its certificates."""
    details = VersionDetails(1, version.created_at_ms, dict(version.chains))
    packed = pack_details(version.certificates, details)
    return msgspec.structs.replace(version, certificates=packed, created_at_ms=None, chains={})


def _as_callers_get_it(version: KeyVersionEntry) -> KeyVersionEntry:
    """The version with certificates alone in ``certificates``. Details of a later form are left out."""
    certificates, details = unpack_details(version.certificates)
    if details is None:
        return msgspec.structs.replace(version, certificates=certificates)
    return msgspec.structs.replace(
        version, certificates=certificates, created_at_ms=details.created_at_ms, chains=details.chains
    )


def _with_versions(
    directory: KeyDirectory, change: Callable[[KeyVersionEntry], KeyVersionEntry]
) -> KeyDirectory:
    """The directory with each version changed."""
    keys = {
        name: msgspec.structs.replace(entry, versions=tuple(map(change, entry.versions)))
        for name, entry in directory.keys.items()
    }
    return msgspec.structs.replace(directory, keys=keys)
