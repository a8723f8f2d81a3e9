"""Each token: whether the module loads and can what is asked of it, and whether every configured key may sign.

One process and at most one login for each; a PIN that was refused before is not tried.
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
from workers.doctor.findings import Finding, good, mend, note, unasked
from workers.lanes.supervisor.registry import most_lanes
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from queueing.protocol.algorithms import Algorithm
    from workers.config.loading import Configuration
    from workers.config.settings import TokenSettings
    from workers.config.tenants import KeyVersion
    from workers.token_admin.messages import TokenReport

AT_ONCE: Final = 8
"""Modules that are loaded at a time: each is a process of its own."""


class ExpectedKeys:
    """What the configuration asks of a token: algorithms, and named public keys."""

    def __init__(self) -> None:
        self.algorithms: set[Algorithm] = set()
        self.keys: list[tuple[str, bytes]] = []


def look_at_tokens(configuration: Configuration) -> list[Finding]:
    """All tokens, several at a time."""
    service = configuration.service
    wanted = wanted_of(configuration)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        looks = list(
            pool.map(
                lambda name: _look(name, service.tokens[name], wanted[name], service.state_dir),
                service.tokens,
            )
        )
    serials = {
        name: (settings.module, *sorted(settings.environment.items()), look.serial)
        for (name, settings), look in zip(service.tokens.items(), looks, strict=True)
        if look.serial
    }
    return [finding for look in looks for finding in look.findings] + shared(serials)


def shared(serials: Mapping[str, Hashable]) -> list[Finding]:
    """Tables that select one token by different ways: their tenants would share its login."""
    return [
        mend(
            "token.shared",
            name,
            f"is the same token as {other}: their tenants share its login and its sessions",
            f'select = {{ serial = "…" }}   # in [tokens.{name}]: a token of its own',
        )
        for name, other in combinations(sorted(serials), 2)
        if serials[name] == serials[other]
    ]


def wanted_of(configuration: Configuration) -> dict[str, ExpectedKeys]:
    """By token. Versions that sign now, or may again: a retired one need not be there any more."""
    service = configuration.service
    wanted = {name: ExpectedKeys() for name in service.tokens}
    own = wanted[service.service_key.token]
    own.keys.append(("the service key", service.service_key.public_key.spki))
    own.algorithms.add(DEFAULT_FOR_KEY[service.service_key.public_key.kind])
    for tenant in configuration.tenants.values():
        for key in tenant.keys.values():
            for version in filter(_should_be_there, key.versions):
                for token in version.tokens:
                    wanted[token].keys.append((f"{key.name}/{version.version}", version.public_key.spki))
                    wanted[token].algorithms |= key.algorithms
    return wanted


def _should_be_there(version: KeyVersion) -> bool:
    return version.state in {"active", "next"}


@dataclass(frozen=True, slots=True)
class TokenInspection:
    """What was found at a token; its serial number where it could be asked."""

    findings: list[Finding]
    serial: str = ""


def _look(name: str, settings: TokenSettings, wanted: ExpectedKeys, state_dir: Path) -> TokenInspection:
    if settings.socket is not None:
        return TokenInspection([look_at_socket(name, settings.socket)])
    why_not = why_no_login(settings, state_dir)
    try:
        exam = TokenAdmin(name, settings, state_dir).examine(
            [spki for _, spki in wanted.keys], sorted(wanted.algorithms), log_in=not why_not
        )
    except ConfigError as error:
        return TokenInspection([mend("token.pin", name, str(error), error.remedy)])
    except SigningError as error:
        return TokenInspection(
            [mend("token.module", name, error.message, f"ls -l {settings.module}; sigmill tokens list")]
        )
    return TokenInspection(judge_token(name, settings, wanted, exam, why_not), exam.facts.serial)


def look_at_socket(name: str, place: str) -> Finding:
    """A lane that the host starts: its PIN is not ours to try."""
    if Path(place).is_socket():
        return note(
            "token.lane", name, f"a lane of the host listens at {place}; its keys are its own to judge"
        )
    return mend(
        "token.lane", name, f"no lane of the host listens at {place}", f"systemctl start sigmill-lane@{name}"
    )


def why_no_login(settings: TokenSettings, state_dir: Path) -> str:
    """Why this process should not log in; empty where it may."""
    if settings.login == "protected-path":
        return "somebody would have to type at its keypad"
    if isinstance(settings.login, PinLogin) and is_for_another_process(settings.login.pin_file):
        return "its PIN is a credential of the worker's unit"
    owner = state_dir.stat().st_uid if state_dir.is_dir() else os.geteuid()
    if owner != os.geteuid():
        return f"the worker runs as uid {owner}, and a refused PIN must be remembered as that user"
    return ""


def judge_token(
    name: str, settings: TokenSettings, wanted: ExpectedKeys, exam: TokenReport, why_not: str
) -> list[Finding]:
    """Everything about a token that was found."""
    facts = exam.facts
    findings = [
        good("token.module", name, f"{facts.module}: {facts.manufacturer} {facts.model} {facts.serial}")
    ]
    if not facts.threads:
        findings.append(
            note(
                "token.module",
                name,
                "refuses to lock for threads: a lane of it has one session",
                f"lanes = {settings.sessions}   # in [tokens.{name}]: processes instead",
            )
        )
    if exam.unable:
        findings.append(
            mend(
                "token.mechanisms",
                name,
                f"cannot sign with {', '.join(exam.unable)}",
                "Take them out of `algorithms` of the tenant's keys, or switch them on in the HSM's policy.",
            )
        )
    elif wanted.algorithms:
        findings.append(good("token.mechanisms", name, f"signs with {', '.join(sorted(wanted.algorithms))}"))
    findings.append(_sessions(name, settings, facts.most_sessions))
    return [*findings, *_pin(name, settings, exam), *_keys(name, wanted, exam, why_not)]


def _sessions(name: str, settings: TokenSettings, most: int | None) -> Finding:
    """Each lane has its part of the sessions, rounded up, and one of its own that holds its login."""
    lanes = most_lanes(settings)
    wanted = lanes * (-(-settings.sessions // lanes) + 1)
    if most and wanted > most:
        fit = (most // lanes - 1) * lanes
        return mend(
            "token.sessions",
            name,
            f"{settings.sessions} sessions in {lanes} lanes, with a login each, are {wanted}; the token allows {most}",
            f"sessions = {fit}   # in [tokens.{name}]"
            if fit > 0
            else f"sessions = {max(most - 1, 1)} and lanes = 1   # in [tokens.{name}]",
        )
    allowed = "any number" if most == 0 else "it does not say how many" if most is None else f"{most}"
    return good("token.sessions", name, f"{settings.sessions} sessions; allowed: {allowed}")


def _pin(name: str, settings: TokenSettings, exam: TokenReport) -> list[Finding]:
    file = settings.login.pin_file if isinstance(settings.login, PinLogin) else ""
    if exam.pin_refused:
        return [
            mend(
                "token.pin",
                name,
                exam.problem,
                f"Write the right PIN into {file}; then sigmill tokens resume {name}",
            )
        ]
    if exam.facts.pin_warnings:
        return [
            mend(
                "token.pin",
                name,
                f"the token reports {', '.join(exam.facts.pin_warnings)}",
                "Log in once with the right PIN, by the vendor's tool; only its security officer unlocks a locked one.",
            )
        ]
    return []


def _keys(name: str, wanted: ExpectedKeys, exam: TokenReport, why_not: str) -> list[Finding]:
    if why_not:
        user = "sigmill keys list   # as the user of the worker"
        return [unasked("token.keys", name, f"not logged in: {why_not}", user)]
    if exam.problem:
        return (
            []
            if exam.pin_refused
            else [mend("token.login", name, exam.problem, "sigmill explain token.unavailable")]
        )
    findings = []
    for (key, _), found in zip(wanted.keys, exam.keys, strict=True):
        if found.problem:
            findings.append(
                mend("token.keys", f"{name}: {key}", found.problem, f"sigmill explain {found.code}")
            )
        else:
            findings.append(
                good("token.keys", f"{name}: {key}", "made inside, sensitive, never extractable, may sign")
            )
    return findings
