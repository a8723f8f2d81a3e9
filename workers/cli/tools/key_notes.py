"""Notes about keys that an agent shows, which no tool says: none at all, certificates that are missing or not valid now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from queueing.protocol.certificates import read_certificate
from workers.cli.shell.output import print_message

if TYPE_CHECKING:
    from queueing.agent.token_objects import TokenKey


def tell_of_keys(keys: Sequence[TokenKey], now: datetime | None = None) -> None:
    """Print notes at the start of an agent."""
    for note in notes_of(keys, now or datetime.now(UTC)):
        print_message(f"note: {note}")


def notes_of(keys: Sequence[TokenKey], now: datetime) -> Iterator[str]:
    """Sentences about what a tool would not say, or would sign with all the same."""
    if not keys:
        yield (
            "the tenant has no active key that PKCS#11 tools can sign with (RSA, P-256, P-384, P-521);"
            " sign Ed25519 with `sigmill sign`"
        )
    for key in keys:
        if not key.certificates:
            continue
        note = validity_note(key.name, key.certificates[0], now)
        if note is not None:
            yield note


def validity_note(key: str, der: bytes, now: datetime) -> str | None:
    """Sentence about a key's certificate that is not valid at this time; None for a valid one."""
    try:
        certificate = read_certificate(der)
    except ValueError:
        return f"the certificate of `{key}` cannot be read: tools that need it do not see the key"
    if certificate.not_valid_after_utc < now:
        return f"the certificate of `{key}` expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    if certificate.not_valid_before_utc > now:
        return f"the certificate of `{key}` is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on"
    return None


def tell_of_missing_certificates(keys: Sequence[TokenKey]) -> None:
    """Print a note after a command that failed without a failed signature: Java and others see no key without a certificate."""
    names = [f"`{key.name}`" for key in keys if not key.certificates]
    if names:
        print_message(
            f"note: no certificate for {', '.join(names)}, and some tools (Java's) see no key without one: the operator"
            " attaches it to the key, or use --certificate KEY=FILE"
        )
