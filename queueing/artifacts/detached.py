"""Signatures in a file beside the signed one: CMS (PKCS #7) without content, and bare signatures of the digest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from queueing.artifacts import cms
from queueing.artifacts.preparation import Done, IfSigned, Order
from queueing.artifacts.streams import FileState, span
from queueing.artifacts.targets import Target
from queueing.errors import ArtifactSigned, InputUnreadable, SigningError
from queueing.files.regular_file import open_regular, read_regular
from queueing.protocol import der

LARGEST_SIGNATURE_BYTES: Final = 1 << 20
"""A signature with chain and time-stamp has less than 30 KiB."""

_NEW_FILE: Final = 0o666
"""Less the umask."""


class SignatureKind(Protocol):
    """Kind of signature file."""

    @property
    def suffix(self) -> str:
        """Suffix of the signature file's name."""

    def digest(self, order: Order, content_digest: bytes) -> bytes:
        """The digest that the key signs."""

    def encoded(self, order: Order, content_digest: bytes, signature: bytes, token: bytes | None) -> bytes:
        """Content of the signature file."""

    def is_by(self, order: Order, content_digest: bytes, raw: bytes) -> bool:
        """Whether the file is what this order would make."""


@dataclass(frozen=True, slots=True)
class CmsSignature:
    """SignedData in DER, detached."""

    suffix: str = ".p7s"

    def digest(self, order: Order, content_digest: bytes) -> bytes:
        """Digest of the signed attributes."""
        return cms.Unsigned.of(order.signer, content_digest).digest

    def encoded(self, order: Order, content_digest: bytes, signature: bytes, token: bytes | None) -> bytes:
        """ContentInfo in DER."""
        stamp = () if token is None else (cms.attribute(cms.TIME_STAMP, token),)
        return cms.Unsigned.of(order.signer, content_digest).assemble(signature, stamp)

    def is_by(self, order: Order, content_digest: bytes, raw: bytes) -> bool:
        """Whether it is this signer's over this content, with a time-stamp if there must be one."""
        try:
            signed = cms.read_signed_data(raw)
            if order.stamped and signed.unsigned_attribute(cms.TIME_STAMP) is None:
                return False
        except der.DerInvalid:
            return False
        return signed.content is None and signed.is_by(order.signer, content_digest)


@dataclass(frozen=True, slots=True)
class RawSignature:
    """The signature of the file's digest alone; ECDSA in DER."""

    suffix: str = ".sig"

    def digest(self, order: Order, content_digest: bytes) -> bytes:  # noqa: ARG002 - as the protocol has it
        """Digest of the file."""
        return content_digest

    def encoded(
        self,
        order: Order,  # noqa: ARG002 - as the protocol has it
        content_digest: bytes,  # noqa: ARG002
        signature: bytes,
        token: bytes | None,  # noqa: ARG002
    ) -> bytes:
        """The signature."""
        return signature

    def is_by(self, order: Order, content_digest: bytes, raw: bytes) -> bool:
        """Whether it is this key's over this content."""
        try:
            order.signer.public_key.verify(order.signer.algorithm, content_digest, raw)
        except SigningError:
            return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDetached:
    """A file whose signature is to come."""

    source: Path
    target: Target
    state: FileState
    order: Order
    kind: SignatureKind
    content_digest: bytes

    @property
    def digest(self) -> bytes:
        """The digest that the key signs."""
        return self.kind.digest(self.order, self.content_digest)

    def finish(self, signature: bytes, token: bytes | None) -> None:
        """Write the signature file; raises ``SigningError``."""
        raw = self.kind.encoded(self.order, self.content_digest, signature, token)
        try:
            self.state.check_same(self.source)
        except OSError as error:
            raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
        self.target.write(lambda to: to.write(raw), mode=_NEW_FILE)


@dataclass(frozen=True, slots=True)
class DetachedPreparation:
    """Preparation of files for one kind of signature."""

    kind: SignatureKind

    def __call__(self, source: Path, target: Target, order: Order) -> PreparedDetached | Done:
        """Hash the file; raises ``SigningError``."""
        try:
            with open_regular(source) as stream:
                state = FileState.of(stream)
                hashed = hashlib.new(order.signer.hash_name)
                with state.unchanged(source):
                    for chunk in span(stream, 0, state.size_bytes):
                        hashed.update(chunk)
        except OSError as error:
            raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
        except ValueError as error:  # a NUL in the name
            raise InputUnreadable(f"the file cannot be read: {error}") from None
        if self._is_done(target, order, hashed.digest()):
            return Done()
        target.check_writable()
        return PreparedDetached(
            source=source,
            target=target,
            state=state,
            order=order,
            kind=self.kind,
            content_digest=hashed.digest(),
        )

    def _is_done(self, target: Target, order: Order, content_digest: bytes) -> bool:
        """Whether an earlier run has made the signature. Raises ``ArtifactSigned`` for a file that is another one."""
        try:
            raw = read_regular(target.path, largest_bytes=LARGEST_SIGNATURE_BYTES)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ArtifactSigned(
                f"{target.path} is there, and no signature: {error.strerror}",
                hint="Remove it, or choose --out-dir.",
            ) from None
        if self.kind.is_by(order, content_digest, raw):
            return True
        if order.if_signed is not IfSigned.REPLACE:
            raise ArtifactSigned(
                f"{target.path} is there, and not this key's signature of the file",
                hint="Remove it, or choose --replace.",
            )
        return False
