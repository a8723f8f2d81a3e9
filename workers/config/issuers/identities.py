"""Identities of a key: rules by which an issuer judges the claims of a token, or the names in a certificate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workers.config.issuers.tables import IdentitySettings

X509: Final = "x509:"
"""Begin of an ``issuer_url`` that stands for certificates."""

_WILDCARD: Final = "*"
_MOST_WILDCARDS: Final = 8
_SEGMENT_ENDS: Final = frozenset("/:")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRule:
    """Rule for one claim: its ``value``, or a ``pattern``, in which ``*`` stands for one or more characters of one segment.

    Segments end at ``/`` and ``:``: a star never reaches over the folder of a branch, or the fields of GitHub's ``sub``. The
    whole claim must fit.
    """

    value: str | int | bool
    pattern: bool = False

    def fits(self, value: object) -> bool:
        """Whether the claim's value fits: by its type, and by code points. True is not 1, and "1" is not 1.

        Takes at most the product of both lengths, whatever the value: its writer may be an attacker.
        """
        if type(value) is not type(self.value):
            return False
        if not self.pattern:
            return value == self.value
        assert isinstance(value, str)
        assert isinstance(self.value, str)
        first, *others = self.value.split(_WILDCARD)
        ends = {len(first)} if value.startswith(first) else set[int]()
        for literal in others:
            ends = _ends_after(value, ends, literal)
        return len(value) in ends

    def __str__(self) -> str:
        return f"like `{self.value}`" if self.pattern else f"`{self.value}`"


def _ends_after(value: str, starts: set[int], literal: str) -> set[int]:
    """Positions after a star and then ``literal``, from each of the positions before the star."""
    found: set[int] = set()
    inside = False
    for position in range(len(value) + 1):
        if inside and value.startswith(literal, position):
            found.add(position + len(literal))
        if position < len(value):
            inside = (inside or position in starts) and value[position] not in _SEGMENT_ENDS
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRule:
    """Identity that gets grants for a key: all ``claims`` must fit. ``place``: of the rule in the tenant's file, for messages.

    ``audience`` is None for certificates; ``max_digests`` None: the issuer's.
    """

    place: str
    issuer_url: str
    audience: str | None
    claims: Mapping[str, ClaimRule]
    max_digests: int | None = None


def read_identities(
    file: Path, key: str, tables: tuple[IdentitySettings, ...], issuers: tuple[str, ...]
) -> tuple[IdentityRule, ...]:
    """Identities of a key. Raises ``ConfigError``."""
    if tables and not issuers:
        raise ConfigError(
            str(file),
            f"keys.{key}.identities",
            "are of no use: no issuer may grant the key",
            "Name those of the tenant in the key's `issuers`.",
        )
    rules = tuple(
        _identity(file, f"keys.{key}.identities[{i}]", settings) for i, settings in enumerate(tables)
    )
    _refuse_contradictions(file, rules)
    return rules


def _refuse_contradictions(file: Path, rules: tuple[IdentityRule, ...]) -> None:
    """Refuse two identities of the same tokens with different ``max_digests``: which of them counted would be their order."""
    seen: dict[object, IdentityRule] = {}
    for rule in rules:
        first = seen.setdefault(
            (rule.issuer_url, rule.audience, frozenset(_comparable(rule.claims).items())), rule
        )
        if first.max_digests != rule.max_digests:
            raise ConfigError(
                str(file),
                f"{rule.place}.max_digests",
                f"is another than that of {first.place}, which fits the same tokens",
                "Keep one of the two identities.",
            )


def _comparable(claims: Mapping[str, ClaimRule]) -> dict[str, tuple[type, ClaimRule]]:
    """The rules by claim; True is not 1."""
    return {name: (type(claim.value), claim) for name, claim in claims.items()}


def _identity(file: Path, path: str, settings: IdentitySettings) -> IdentityRule:
    certificate = settings.issuer_url.startswith(X509)
    if certificate != (settings.audience is None):
        raise ConfigError(
            str(file),
            f"{path}.audience",
            "is not possible for certificates" if certificate else "is missing",
            "Remove it." if certificate else "Write the `aud` that the tokens for this service have.",
        )
    if not (settings.claims or settings.patterns):
        raise ConfigError(
            str(file),
            path,
            "has no `claims`: everybody with a token of that provider would get grants",
            "Write the claims that only your builds have, such as repository_id.",
        )
    for name in sorted(settings.claims.keys() & settings.patterns.keys()):
        raise ConfigError(
            str(file), f"{path}.patterns.{name}", "is among `claims` too", "Write it in one of them."
        )
    for name, text in settings.patterns.items():
        _check_pattern(file, f"{path}.patterns.{name}", text)
    claims = {name: ClaimRule(value=value) for name, value in settings.claims.items()}
    patterns = {name: ClaimRule(value=text, pattern=True) for name, text in settings.patterns.items()}
    return IdentityRule(
        place=path,
        issuer_url=settings.issuer_url,
        audience=settings.audience,
        claims=claims | patterns,
        max_digests=settings.max_digests,
    )


def _check_pattern(file: Path, path: str, text: str) -> None:
    if not text.strip(_WILDCARD):
        raise ConfigError(str(file), path, "fits every text", "Write what must be in it, or remove it.")
    if _WILDCARD * 2 in text:
        raise ConfigError(
            str(file),
            path,
            "has two wildcards (`*`) in a row",
            "Write one: it stands for one or more characters other than `/` and `:`, and no number of them for these.",
        )
    if not 0 < text.count(_WILDCARD) <= _MOST_WILDCARDS:
        raise ConfigError(
            str(file),
            path,
            f"has {text.count(_WILDCARD)} wildcards (`*`)",
            f"Write 1 to {_MOST_WILDCARDS}; a text without one belongs to `claims`.",
        )
