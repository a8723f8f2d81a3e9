"""Checks of the issuer's configuration without its lane: files, identities of the tenants, and one token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from queueing.errors import ConfigError
from queueing.files.folders import entries
from workers.issuer.identity.claims import Pattern
from workers.issuer.identity.rules import decide
from workers.issuer.identity.signed_token import TokenVerifier
from workers.issuer.rule_files import RuleFiles
from workers.issuer.tenant_rules import TenantFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from workers.config.values import ErrorList
    from workers.issuer.identity.rules import IdentityRule, TenantRules
    from workers.issuer.issuer_file import IssuerConfiguration

IMMUTABLE: Final = {
    "repository": "repository_id",
    "repository_owner": "repository_owner_id",
    "project_path": "project_id",
    "namespace_path": "namespace_id",
    "user_login": "user_id",
    "actor": "actor_id",
}
"""Names of GitHub and GitLab that can be given to somebody else after a rename, and the claim that cannot."""


def check_files(configuration: IssuerConfiguration, errors: ErrorList) -> list[ConfigError]:
    """Read every file by which the issuer judges: mistakes are added to ``errors``, and warnings returned."""
    errors.collect(configuration.authorities)
    try:
        files = entries(configuration.tenants_dir, suffix=".toml")
    except OSError as error:
        errors.all.append(
            ConfigError(
                str(configuration.file),
                "issuer.tenants_dir",
                f"cannot be listed ({error.strerror})",
                "Name the directory of the tenants' files.",
            )
        )
        return []
    warnings = []
    reader = TenantFiles(configuration)
    for file in files:
        found = errors.collect(lambda file=file: reader.read(file))  # type: ignore[misc]
        if found is not None:
            warnings += list(_warnings(file, found[0]))
    return warnings


def judge_token(
    configuration: IssuerConfiguration, token: str, tenant: str, keys: Sequence[str], now_s: float
) -> tuple[str, tuple[str, ...]]:
    """Subject of the token, and the keys that it would get. Raises a ``SigningError`` as a request would have it."""
    verifier = TokenVerifier(configuration.identity_providers())
    files = RuleFiles(configuration)
    provider = verifier.provider_of(token)
    identity = verifier.verify(token, provider, files.provider_keys(provider.name, now_s), now_s)
    return identity.subject, decide(identity, files.tenant(tenant, now_s), keys).keys


def _warnings(file: Path, tenant: TenantRules) -> Iterator[ConfigError]:
    for name, key in tenant.keys.items():
        if not key.rules:
            yield ConfigError(
                str(file),
                f"keys.{name}",
                "names this issuer, but has no identities: no token gets the key",
                "Add [[keys.NAME.identities]], or remove the issuer from `issuers`.",
            )
        for i, rule in enumerate(key.rules):
            yield from mutable_claims(file, f"keys.{name}.identities[{i}]", rule)


def mutable_claims(file: Path, path: str, rule: IdentityRule) -> Iterator[ConfigError]:
    """Warnings about claims that can be had again under the same text, where the immutable one is not in the rule."""
    for claim, better in IMMUTABLE.items():
        if claim in rule.claims and better not in rule.claims:
            yield ConfigError(
                str(file),
                f"{path}.claims.{claim}",
                "is a name, which another owner can have after a rename or a removal",
                f"Compare `{better}` as well: it is never given again.",
            )
    if set(rule.claims) == {"sub"} and isinstance(rule.claims["sub"], Pattern):
        yield ConfigError(
            str(file),
            f"{path}.claims.sub",
            "is a pattern, and the only claim",
            "Compare the ids of the repository or project, and its branch or environment, each by its own claim.",
        )
