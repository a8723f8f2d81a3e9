"""Choice of the key version that signs, with its certificate: from the key directory, or a chain that the build brings along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from queueing.artifacts.cms import Signer
from queueing.client.signing_request import KeySpec
from queueing.errors import ConfigError, KeyDisabled, KeyUnknown
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.envelope import CURRENT_VERSION
from queueing.protocol.key_directory import KeyEntry, KeyVersionEntry
from queueing.protocol.public_keys import PublicKey


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The version that signs, as KEY/VERSION, and its signer."""

    spec: str
    signer: Signer


def signing_key(
    entries: Mapping[str, KeyEntry],
    name: str,
    algorithm: Algorithm | None,
    chain: tuple[bytes, ...] | None,
    *,
    certified: bool,
) -> SigningKey:
    """The newest active version of KEY, or KEY/VERSION. ``chain``: certificates instead of the directory's, DER.

    ``certified`` False: raw signatures, for which no certificate is needed. Raises ``KeyUnknown``, ``KeyDisabled``, and
    ``ConfigError`` for certificates that are missing or of another key.
    """
    spec = KeySpec.parse(name)
    entry = entries.get(spec.key)
    if entry is None:
        raise KeyUnknown(f"the tenant has no key `{spec.key}`")
    version = next(_candidates(entry, spec.key_version), None)
    if version is None:
        raise KeyDisabled(f"no active version of the key `{spec.key}` is {name}")
    chosen = f"{spec.key}/{version.version}"
    algorithm = algorithm or entry.default_algorithm
    if not certified:
        return SigningKey(chosen, Signer.bare(PublicKey.from_spki(version.public_key), algorithm))
    certificates = version.certificates if chain is None else chain
    if not certificates:
        raise ConfigError(
            "--key",
            "",
            f"the key directory has no certificate of {chosen}",
            "Ask the operator to attach it (`sigmill keys attach-certificate`), or give it by --certificate FILE.",
        )
    try:
        signer = Signer.of(certificates, algorithm)
    except ValueError as error:
        raise ConfigError(
            "--certificate" if chain else "--key", "", str(error), "Give the key's own certificate first."
        ) from None
    if signer.public_key.spki != version.public_key:
        raise ConfigError(
            "--certificate" if chain else "--key",
            "",
            f"the first certificate is not of {chosen}: it has another public key",
            "Put the key's own certificate first in the file, then those of its issuers.",
        )
    return SigningKey(chosen, signer)


def _candidates(entry: KeyEntry, number: int) -> Iterator[KeyVersionEntry]:
    """Active versions, the newest first; with a number, that one alone."""
    for version in reversed(entry.versions):
        if version.state == "active" and number in {CURRENT_VERSION, version.version}:
            yield version
