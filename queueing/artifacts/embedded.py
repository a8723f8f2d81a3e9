"""Formats with their signature inside: one preparation for all of them, by the layout that each one reads.

A file that this signer has signed over its present content is done: a repeated run signs only what is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from queueing.artifacts import authenticode, cms
from queueing.artifacts.preparation import Done, IfSigned, Order
from queueing.artifacts.streams import FileState, changed_meanwhile
from queueing.artifacts.targets import Target
from queueing.errors import ArtifactInvalid, ArtifactSigned, InputUnreadable, SigningError
from queueing.files.regular_file import open_regular
from queueing.protocol import der
from queueing.protocol.certificates import read_certificate


class Layout(Protocol):
    """Layout of a file of one format."""

    @property
    def signatures(self) -> tuple[bytes, ...]:
        """SignedData of each signature in the file."""

    @property
    def many_signatures(self) -> bool:
        """Whether a further signature stands behind the others; it is nested in the first one otherwise."""

    @property
    def can_append(self) -> bool:
        """Whether the format can have a second signature."""

    def digest(self, stream: BinaryIO, hash_name: str) -> bytes:
        """Digest of the content."""

    def write(self, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...], hash_name: str) -> bytes:
        """Write the file with these signatures; returns the digest of the content as it was read for that."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name for people, the reader of its layout, and the subject of its SpcIndirectDataContent."""

    name: str
    read: Callable[[BinaryIO, int], Layout]
    subject: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """A file as it was hashed."""

    source: Path
    state: FileState
    layout: Layout
    hash_name: str
    digest: bytes

    def write(self, stream: BinaryIO, to: BinaryIO, signatures: tuple[bytes, ...]) -> None:
        """Write the file with these signatures. Raises ``InputUnreadable`` if it is another one now, and ``OSError``.

        By its state, and by the digest of what was written: a process that has mapped the file into its memory changes it
        without a time of it being changed (mmap(2)).
        """
        with self.state.unchanged(self.source):
            written = self.layout.write(stream, to, signatures, self.hash_name)
        if written != self.digest:
            raise changed_meanwhile()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedFile:
    """A file with an embedded signature to come. ``kept``: its signatures that stay."""

    content: _Content
    target: Target
    kept: tuple[bytes, ...]
    unsigned: cms.Unsigned

    @property
    def digest(self) -> bytes:
        """The digest that the key signs."""
        return self.unsigned.digest

    def finish(self, signature: bytes, token: bytes | None) -> None:
        """Write the signed file in place of the old one; raises ``SigningError``."""
        stamp = () if token is None else (cms.attribute(authenticode.TIME_STAMP, token),)
        made = self.unsigned.assemble(signature, stamp)
        _write(self.content, self.target, self._with(made))

    def _with(self, made: bytes) -> tuple[bytes, ...]:
        if not self.kept or self.content.layout.many_signatures:
            return (*self.kept, made)
        try:
            return (authenticode.with_nested(cms.read_signed_data(self.kept[0]), made), *self.kept[1:])
        except der.DerInvalid as error:
            raise _unreadable_signature(error) from None


@dataclass(frozen=True, slots=True)
class EmbeddedPreparation:
    """Preparation of files of one format."""

    format: Format

    def __call__(self, source: Path, target: Target, order: Order) -> PreparedFile | Done:
        """Read and hash the file; raises ``SigningError``."""
        authenticode.check_algorithm(order.signer)
        try:
            return self._prepare(source, target, order)
        except OSError as error:
            raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
        except ValueError as error:  # a NUL in the name
            raise InputUnreadable(f"the file cannot be read: {error}") from None

    def _prepare(self, source: Path, target: Target, order: Order) -> PreparedFile | Done:
        with open_regular(source) as stream:
            state = FileState.of(stream)
            with state.unchanged(source):
                layout = self.format.read(stream, state.size_bytes)
                digest = layout.digest(stream, order.signer.hash_name)
        content = _Content(
            source=source, state=state, layout=layout, hash_name=order.signer.hash_name, digest=digest
        )
        if _is_done(layout, digest, order):
            if target.folder is not None and not self._is_done_below(target, digest, order):
                _write(content, target, layout.signatures)
            return Done()
        if target.folder is not None and self._is_done_below(target, digest, order):
            return Done()
        kept = _kept(layout, order.if_signed, self.format.name)
        target.check_writable()
        return PreparedFile(
            content=content,
            target=target,
            kept=kept,
            unsigned=authenticode.unsigned(order.signer, self.format.subject, digest, order.description),
        )

    def _is_done_below(self, target: Target, digest: bytes, order: Order) -> bool:
        """Whether an earlier run has written the signed file; a file that cannot be read is none."""
        try:
            with open_regular(target.path) as stream:
                layout = self.format.read(stream, os.fstat(stream.fileno()).st_size)
                same = layout.digest(stream, order.signer.hash_name) == digest
        except (OSError, SigningError):
            return False
        return same and _is_done(layout, digest, order)


def _is_done(layout: Layout, digest: bytes, order: Order) -> bool:
    for raw in layout.signatures:
        try:
            signatures = authenticode.all_signatures(cms.read_signed_data(raw))
            if any(_is_ours(each, digest, order) for each in signatures):
                return True
        except der.DerInvalid:
            continue
    return False


def _is_ours(signed: cms.SignedData, digest: bytes, order: Order) -> bool:
    if not authenticode.is_by(signed, order.signer, digest):
        return False
    return not order.stamped or signed.unsigned_attribute(authenticode.TIME_STAMP) is not None


def _kept(layout: Layout, if_signed: IfSigned, name: str) -> tuple[bytes, ...]:
    """Signatures that stay in the file. Raises ``ArtifactSigned`` and ``ArtifactInvalid``."""
    if not layout.signatures or if_signed is IfSigned.REPLACE:
        return ()
    if if_signed is IfSigned.REFUSE:
        choices = "--replace or --append" if layout.can_append else "--replace"
        raise ArtifactSigned(
            f"the file is signed already, {signed_by(layout.signatures[0])}",
            hint=f"Sign the file as it was built, or choose {choices}.",
        )
    if not layout.can_append:
        raise ArtifactSigned(
            f"the file is signed already, {signed_by(layout.signatures[0])}, and a {name} file has one signature",
            hint="Choose --replace instead of --append.",
        )
    if layout.many_signatures:
        return layout.signatures
    try:
        authenticode.all_signatures(cms.read_signed_data(layout.signatures[0]))
    except der.DerInvalid as error:
        raise _unreadable_signature(error) from None
    return layout.signatures


def signed_by(raw: bytes) -> str:
    """Signer of a signature, for people: its certificate's subject, as far as it can be read."""
    try:
        signed = cms.read_signed_data(raw)
        for each in signed.certificates:
            certificate = read_certificate(each)
            issuer, serial = certificate.issuer.public_bytes(), der.integer(certificate.serial_number)
            if der.sequence(issuer, serial) == signed.identifier:
                return f"by {certificate.subject.rfc4514_string()!s:.200}"
    except (der.DerInvalid, ValueError):
        pass
    return "by an unreadable signature"


def _write(content: _Content, target: Target, signatures: tuple[bytes, ...]) -> None:
    try:
        stream = open_regular(content.source)
    except OSError as error:
        raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
    with stream:
        mode = os.fstat(stream.fileno()).st_mode & 0o777

        def write(to: BinaryIO) -> None:
            if target.folder is not None:
                os.fchmod(to.fileno(), mode)
            content.write(stream, to, signatures)

        target.write(write, mode=mode)


def _unreadable_signature(error: der.DerInvalid) -> ArtifactInvalid:
    return ArtifactInvalid(
        f"the signature in the file cannot be read ({error}), so none can be added to it",
        hint="Choose --replace instead of --append.",
    )
