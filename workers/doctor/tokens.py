"""Checks of each token: module, mechanisms, sessions, PIN, and every configured key.

One process and at most one login per token; a PIN that was rejected before is not tried.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.config.secrets import is_for_another_process
from queueing.errors import ConfigError, SigningError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from workers.config.settings import PinLogin
from workers.doctor.findings import Finding, fail, ok, skipped, warning
from workers.lanes.supervisor.spawn import lanes_for
from workers.state.token_claims import TokenProperties
from workers.token_admin.owned_tokens import admin_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.protocol.algorithms import Algorithm
    from workers.config.loading import Configuration
    from workers.config.settings import TokenSettings
    from workers.config.tenants import KeyVersion
    from workers.token_admin.messages import TokenFacts, TokenReport

AT_ONCE: Final = 8
"""Modules that are loaded at a time, each in its own process."""


class ExpectedKeys:
    """Algorithms and named public keys that the configuration expects of a token."""

    def __init__(self) -> None:
        self.algorithms: set[Algorithm] = set()
        self.keys: list[tuple[str, bytes]] = []


def check_tokens(configuration: Configuration) -> list[Finding]:
    """Check all tokens, several at a time."""
    service = configuration.service
    wanted = expected_keys(configuration)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        inspections = list(
            pool.map(
                lambda name: _inspect(configuration, name, wanted[name]),
                service.tokens,
            )
        )
    identities = {
        name: inspection.identity
        for name, inspection in zip(service.tokens, inspections, strict=True)
        if inspection.identity
    }
    findings = [finding for inspection in inspections for finding in inspection.findings]
    return findings + _shared_tokens(identities)


def _shared_tokens(identities: Mapping[str, str]) -> list[Finding]:
    """Check for tables that find the same token, by whatever module and properties: their tenants would share its login."""
    return [
        fail(
            "token.shared",
            name,
            f"is the same token as {other}: their tenants share its login and sessions",
            f'select = {{ serial = "…" }}   # in [tokens.{name}]: a separate token',
        )
        for name, other in combinations(sorted(identities), 2)
        if identities[name] == identities[other]
    ]


def expected_keys(configuration: Configuration) -> dict[str, ExpectedKeys]:
    """Expected keys by token: versions that are active or next; retired ones may be gone."""
    service = configuration.service
    wanted = {name: ExpectedKeys() for name in service.tokens}
    own = wanted[service.service_key.token]
    own.keys.append(("the service key", service.service_key.public_key.spki))
    own.algorithms.add(DEFAULT_FOR_KEY[service.service_key.public_key.kind])
    for tenant in configuration.tenants.values():
        for key in tenant.keys.values():
            for version in filter(_must_exist, key.versions):
                for token in version.tokens:
                    wanted[token].keys.append((f"{key.name}/{version.version}", version.public_key.spki))
                    wanted[token].algorithms |= key.algorithms
    return wanted


def _must_exist(version: KeyVersion) -> bool:
    return version.state_now in {"active", "next"}


@dataclass(frozen=True, slots=True)
class TokenInspection:
    """Findings of one token, and its identity where that could be read."""

    findings: list[Finding]
    identity: str = ""


def _inspect(configuration: Configuration, name: str, wanted: ExpectedKeys) -> TokenInspection:
    settings = configuration.service.tokens[name]
    if settings.socket is not None:
        return TokenInspection([check_host_lane(name, settings.socket)])
    skip_reason = login_obstacle(settings, configuration.service.state_dir)
    try:
        report = admin_of(configuration, name).examine(
            [spki for _, spki in wanted.keys], sorted(wanted.algorithms), log_in=not skip_reason
        )
    except ConfigError as error:
        return TokenInspection([fail("token.pin", name, str(error), error.remedy)])
    except SigningError as error:
        return TokenInspection(
            [fail("token.module", name, error.message, f"ls -l {settings.module}; sigmill tokens list")]
        )
    return TokenInspection(
        check_token(name, settings, wanted, report, skip_reason), _identity_of(report.facts, settings)
    )


def _identity_of(facts: TokenFacts, settings: TokenSettings) -> str:
    found = TokenProperties(facts.manufacturer, facts.model, facts.serial, facts.label, facts.slot)
    return found.identity(settings.module)


def check_host_lane(name: str, path: str) -> Finding:
    """Check that a host-started lane listens; its PIN is not available here."""
    if Path(path).is_socket():
        return warning("token.lane", name, f"a host-started lane listens at {path}; its keys are not checked")
    return fail(
        "token.lane", name, f"no host-started lane listens at {path}", f"systemctl start sigmill-lane@{name}"
    )


def login_obstacle(settings: TokenSettings, state_dir: Path) -> str:
    """Reason why this process must not log in; empty where it may."""
    if settings.login == "protected-path":
        return "its PIN is typed on a keypad"
    if isinstance(settings.login, PinLogin) and is_for_another_process(settings.login.pin_file):
        return "its PIN is a credential of the worker's unit"
    owner = state_dir.stat().st_uid if state_dir.is_dir() else os.geteuid()
    if owner != os.geteuid():
        return f"the worker runs as uid {owner}, and a rejected PIN must be recorded as that user"
    return ""


def check_token(
    name: str, settings: TokenSettings, wanted: ExpectedKeys, report: TokenReport, skip_reason: str
) -> list[Finding]:
    """Check a token that was found."""
    facts = report.facts
    findings = [
        ok("token.module", name, f"{facts.module}: {facts.manufacturer} {facts.model} {facts.serial}")
    ]
    if not facts.threads:
        findings.append(
            warning(
                "token.module",
                name,
                "the module does not support threads: each lane has one session",
                f"lanes = {settings.sessions}   # in [tokens.{name}]: one process per session",
            )
        )
    if report.unable:
        findings.append(
            fail(
                "token.mechanisms",
                name,
                f"cannot sign with {', '.join(report.unable)}",
                "Remove them from `algorithms` of the tenant's keys, or enable them in the HSM's policy.",
            )
        )
    elif wanted.algorithms:
        findings.append(ok("token.mechanisms", name, f"signs with {', '.join(sorted(wanted.algorithms))}"))
    findings.append(_sessions(name, settings, facts.most_sessions))
    return [*findings, *_pin(name, settings, report), *_keys(name, wanted, report, skip_reason)]


def _sessions(name: str, settings: TokenSettings, most: int | None) -> Finding:
    """Check the number of sessions: each lane has its share, rounded up, and one that holds the login."""
    lanes = lanes_for(settings)
    wanted = lanes * (-(-settings.sessions // lanes) + 1)
    if most and wanted > most:
        fit = (most // lanes - 1) * lanes
        return fail(
            "token.sessions",
            name,
            f"{settings.sessions} sessions in {lanes} lanes, plus one login session per lane, are {wanted}; the token allows {most}",
            f"sessions = {fit}   # in [tokens.{name}]"
            if fit > 0
            else f"sessions = {max(most - 1, 1)} and lanes = 1   # in [tokens.{name}]",
        )
    allowed = "unlimited" if most == 0 else "unknown" if most is None else f"{most}"
    return ok("token.sessions", name, f"{settings.sessions} sessions; allowed: {allowed}")


def _pin(name: str, settings: TokenSettings, report: TokenReport) -> list[Finding]:
    file = settings.login.pin_file if isinstance(settings.login, PinLogin) else ""
    if report.pin_refused:
        return [
            fail(
                "token.pin",
                name,
                report.problem,
                f"Write the correct PIN to {file}; then sigmill tokens resume {name}",
            )
        ]
    if report.facts.pin_warnings:
        return [
            fail(
                "token.pin",
                name,
                f"the token reports {', '.join(report.facts.pin_warnings)}",
                "Log in once with the correct PIN, using the vendor's tool; only the security officer can unlock a locked PIN.",
            )
        ]
    return []


def _keys(name: str, wanted: ExpectedKeys, report: TokenReport, skip_reason: str) -> list[Finding]:
    if skip_reason:
        fix = "sigmill keys list   # as the user of the worker"
        return [skipped("token.keys", name, f"not logged in: {skip_reason}", fix)]
    if report.problem:
        return (
            []
            if report.pin_refused
            else [fail("token.login", name, report.problem, "sigmill explain token.unavailable")]
        )
    findings = []
    for (key, _), found in zip(wanted.keys, report.keys, strict=True):
        if found.problem:
            findings.append(
                fail("token.keys", f"{name}: {key}", found.problem, f"sigmill explain {found.code}")
            )
        else:
            findings.append(
                ok(
                    "token.keys",
                    f"{name}: {key}",
                    "generated in the token, sensitive, never extractable, may sign",
                )
            )
    return findings
