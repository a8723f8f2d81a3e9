"""Checks of the issuer's configuration without its lane: files, identities of the tenants, and one token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.config.secrets import is_for_another_process
from queueing.errors import ConfigError
from queueing.files.folders import entries
from queueing.protocol.grants.grant_request import KEY_MARK
from workers.config.issuers.mutability import mutable_rules
from workers.config.settings import PinLogin
from workers.config.validation import broken_secret, module_problem
from workers.issuer.identity.rules import decide
from workers.issuer.identity.signed_token import TokenVerifier
from workers.issuer.rule_files import RuleFiles
from workers.issuer.tenant_rules import TenantFiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workers.config.values import ErrorList
    from workers.issuer.identity.rules import TenantRules
    from workers.issuer.issuer_file import IssuerConfiguration


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


def broken_references(configuration: IssuerConfiguration) -> Iterator[ConfigError]:
    """Module, secrets and certificates that cannot be used, unless they are those of another process of the issuer."""
    file, token = configuration.file, configuration.token_settings
    problem = module_problem(Path(token.module))
    if problem:
        yield ConfigError(
            str(file),
            f"tokens.{configuration.token}.module",
            f"{token.module} {problem}",
            "Install the vendor's module, or correct the path.",
        )
    if isinstance(token.login, PinLogin):
        yield from broken_secret(file, f"tokens.{configuration.token}.login.pin_file", token.login.pin_file)
    if not is_for_another_process(configuration.http.private_key):
        try:
            configuration.tls_files().context()
        except ConfigError as error:
            yield error


def judge_token(
    configuration: IssuerConfiguration, token: str, tenant: str, keys: Sequence[str], now_s: float
) -> tuple[str, tuple[str, ...]]:
    """Subject of the token, and the keys that it would get. Raises a ``SigningError`` as a request would have it."""
    verifier = TokenVerifier(configuration.identity_providers())
    files = RuleFiles(configuration)
    provider = verifier.provider_of(token)
    identity = verifier.verify(token, provider, files.provider_keys(provider.name, now_s), now_s)
    audience = identity.audience and identity.audience.partition(KEY_MARK)[0]
    identity = replace(identity, audience=audience)  # which key it names is seen in a request only
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
        yield from mutable_rules(file, key.rules)
