"""The PKCS#11 token that the agent shows: one state of it, and the source that makes a new one of a new key directory."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from queueing.agent.certificates import Chains
from queueing.agent.cryptoki import AttributeValue, Mechanism
from queueing.agent.signing_input import mechanism_for
from queueing.agent.token_objects import TokenKey, TokenObject, objects_of
from queueing.errors import ConfigError, KeyUnknown, SigningError, Unavailable
from queueing.protocol.key_directory import KeyEntry, KeyVersionEntry
from queueing.protocol.public_keys import PublicKey

_log: Final = logging.getLogger("sigmill.agent")


@dataclass(frozen=True, slots=True)
class Token:
    """Objects by handle, and the mechanisms of their keys.

    Handles stay the same from one state to the next. ``earlier`` has the objects of earlier states, too: a tool may hold a
    key over its rotation, and is then told by the service that the version is no longer active.
    """

    objects: Mapping[int, TokenObject]
    mechanisms: tuple[Mechanism, ...]
    earlier: Mapping[int, TokenObject] = field(default_factory=dict)

    def object(self, handle: int) -> TokenObject | None:
        """The object with this handle, of this state or an earlier one."""
        return self.objects.get(handle) or self.earlier.get(handle)

    @property
    def keys(self) -> list[TokenKey]:
        """The keys of this state, in their order."""
        return [found.key for found in self.objects.values() if found.key is not None]

    def find(self, template: Sequence[tuple[int, AttributeValue | None]]) -> list[int]:
        """Handles of the objects that have every attribute of the template, in the order of their keys."""
        return [handle for handle, found in self.objects.items() if found.matches(template)]


class KeyDirectorySource(Protocol):
    """The part of ``queueing.client.signing_client.SigningClient`` that a token is made of."""

    async def keys(self) -> Mapping[str, KeyEntry]:
        """The tenant's keys by name; the same object until the directory changes."""


class TokenSource:
    """Source of the token's current state: active versions of RSA and EC keys.

    ``names``: the keys to show; None for all of the tenant. ``chains``: certificates that replace those of the directory.
    """

    def __init__(
        self,
        directory: KeyDirectorySource,
        names: Collection[str] | None = None,
        chains: Chains | None = None,
    ) -> None:
        self._directory = directory
        self._names = names
        self._chains = chains or {}
        self._handles: dict[bytes, int] = {}
        self._next_handle = count(1)
        self._known: dict[int, TokenObject] = {}
        self._made_of: Mapping[str, KeyEntry] | None = None
        self._token = Token({}, ())

    async def current(self) -> Token:
        """The token now. Costs nothing while the key directory is the same; raises as the directory fails."""
        try:
            entries = await self._directory.keys()
        except ConfigError as error:  # waiting does not help: Redis refuses the client
            raise Unavailable(str(error), hint=error.remedy) from error
        if entries is not self._made_of:
            self._token, self._made_of = self._make(entries), entries
        return self._token

    async def check(self) -> None:
        """Raise ``KeyUnknown`` or ``ConfigError`` for a key or certificate that the token cannot show."""
        entries = await self._directory.keys()
        for name in sorted({*(self._names or ()), *self._chains}):
            if name not in entries:
                raise KeyUnknown(f"the tenant has no key `{name}`")
            if not list(self._keys_of(name, entries[name])):
                raise KeyUnknown(
                    f"the key `{name}` has no active version that PKCS#11 tools can sign with",
                    hint="They sign with RSA and with P-256, P-384 and P-521; sign Ed25519 with `sigmill sign`. If the key was"
                    " retired or revoked, ask the operator for its next version.",
                )
        for name, chain in self._chains.items():
            if not any(key.public_key.spki == chain.spki for key in self._keys_of(name, entries[name])):
                raise ConfigError(
                    f"--certificate {name}=…",
                    "",
                    "the first certificate has the public key of no active version of this key",
                    "Put the key's own certificate first in the file, then those of its issuers.",
                )

    def _make(self, entries: Mapping[str, KeyEntry]) -> Token:
        objects: dict[int, TokenObject] = {}
        mechanisms: set[Mechanism] = set()
        for name in sorted(entries if self._names is None else {*self._names} & {*entries}):
            for key in self._keys_of(name, entries[name]):
                mechanisms |= {found for each in key.algorithms if (found := mechanism_for(each)) is not None}
                objects |= {self._handle(found): found for found in _objects(key)}
        self._known |= objects
        return Token(objects, tuple(sorted(mechanisms)), self._known)

    def _keys_of(self, name: str, entry: KeyEntry) -> Iterator[TokenKey]:
        """Active versions, the newest first, which alone has the key's bare name."""
        if all(mechanism_for(algorithm) is None for algorithm in entry.algorithms):
            return
        active = [version for version in reversed(entry.versions) if version.state == "active"]
        for position, version in enumerate(active):
            spec = f"{name}/{version.version}"
            yield TokenKey(
                name=name if position == 0 else spec,
                spec=spec,
                public_key=PublicKey.from_spki(version.public_key),
                algorithms=entry.algorithms,
                certificates=self._certificates(name, version),
            )

    def _certificates(self, name: str, version: KeyVersionEntry) -> tuple[bytes, ...]:
        chain = self._chains.get(name)
        if chain is not None and chain.spki == version.public_key:
            return chain.certificates
        return version.certificates

    def _handle(self, found: TokenObject) -> int:
        handle = self._handles.get(found.identity)
        if handle is None:
            handle = self._handles[found.identity] = next(self._next_handle)
        return handle


def _objects(key: TokenKey) -> list[TokenObject]:
    try:
        return list(objects_of(key))
    except (ValueError, SigningError) as error:
        _log.warning("the token does not show the key `%s`: %s", key.spec, error)
        return []
