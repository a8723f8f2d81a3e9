"""Formats of files that are signed natively, recognised by their content."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Final

from queueing.artifacts import authenticode
from queueing.artifacts.cab import read_cab
from queueing.artifacts.compound_file import MAGIC
from queueing.artifacts.detached import CmsSignature, DetachedPreparation, RawSignature
from queueing.artifacts.embedded import EmbeddedPreparation, Format
from queueing.artifacts.msi import SUBJECT, read_msi
from queueing.artifacts.pe import read_pe
from queueing.artifacts.preparation import Preparation
from queueing.errors import ArtifactInvalid, InputUnreadable
from queueing.files.regular_file import open_regular


class FormatName(StrEnum):
    """Names of the formats, as ``--format`` has them."""

    PE = "pe"
    CAB = "cab"
    MSI = "msi"
    CMS = "cms"
    RAW = "raw"


PREPARATIONS: Final[dict[FormatName, Preparation]] = {
    FormatName.PE: EmbeddedPreparation(Format("PE", read_pe, authenticode.PE_IMAGE)),
    FormatName.CAB: EmbeddedPreparation(Format("CAB", read_cab, authenticode.CABINET)),
    FormatName.MSI: EmbeddedPreparation(Format("MSI", read_msi, SUBJECT)),
    FormatName.CMS: DetachedPreparation(CmsSignature()),
    FormatName.RAW: DetachedPreparation(RawSignature()),
}

SUFFIXES: Final[dict[FormatName, str]] = {
    FormatName.CMS: CmsSignature().suffix,
    FormatName.RAW: RawSignature().suffix,
}
"""Suffix of the signature file's name, for formats that leave the file as it is. They are chosen, never recognised."""

_MAGIC: Final = ((b"MZ", FormatName.PE), (b"MSCF", FormatName.CAB), (MAGIC, FormatName.MSI))
_NOT_YET: Final = (
    (b"PK\x03\x04", "a JAR, APK or other ZIP file", "jarsigner or apksigner"),
    (b"\xed\xab\xee\xdb", "an RPM package", "rpmsign"),
)
"""Formats that other tools sign, through ``sigmill run``."""


def recognised(path: Path) -> FormatName:
    """The format of a file, by its first bytes.

    Raises ``InputUnreadable``, and ``ArtifactInvalid`` for a format that is not signed natively, with what signs it.
    """
    try:
        with open_regular(path) as stream:
            head = stream.read(8)
    except OSError as error:
        raise InputUnreadable(f"the file cannot be read: {error.strerror}") from None
    except ValueError as error:  # a NUL in the name
        raise InputUnreadable(f"the file cannot be read: {error}") from None
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    for magic, kind, tool in _NOT_YET:
        if head.startswith(magic):
            raise ArtifactInvalid(
                f"this is {kind}, which is not signed natively",
                hint=f"Sign it with {tool} through `sigmill run` (docs/tools.md).",
            )
    known = ", ".join(str(name).upper() for _, name in _MAGIC)
    raise ArtifactInvalid(
        f"the format is not known: the file does not begin as {known} does",
        hint="Choose --format cms or --format raw for a signature in a file of its own.",
    )
