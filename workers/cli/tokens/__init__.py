"""``sigmill tokens``: list and resume; drain is a module of its own.

drain  ``sigmill tokens drain``

It never imports `workers.hsm`: tokens are reached through `workers.token_admin`, without a login.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from queueing.aio.runner import run
from queueing.coordination import refused_pin_feed
from queueing.errors import ConfigError, QueueUnavailable, SigningError
from queueing.redis.connection import with_connection
from workers.cli.commands import TOKENS, LazyGroup
from workers.cli.shell.options import config_option, json_option
from workers.cli.shell.output import (
    ErrorObject,
    Exit,
    Output,
    Tally,
    emit,
    error_object,
    print_message,
    print_table,
)
from workers.config.loading import ServiceScope, load_scope
from workers.config.service_file import load_service
from workers.config.settings import PinLogin, TokenSettings
from workers.config.tenant_writer import token_owners
from workers.state.directory import reading_state
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.token_admin.client import TokenAdmin
from workers.token_admin.messages import TokenFacts


class TokenLine(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the configuration. ``most_sessions``: 0 means no limit, None means unknown."""

    token: str
    owner: str | None
    found: bool
    login: str
    sessions: int
    pin_refused: bool
    drained: bool
    slot: int | None = None
    label: str | None = None
    serial: str | None = None
    model: str | None = None
    firmware: str | None = None
    module: str | None = None
    most_sessions: int | None = None
    threads: bool | None = None
    pin_warnings: tuple[str, ...] = ()
    error: ErrorObject | None = None


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """Result of ``resume``; ``untold``: the error if other hosts could not be told."""

    token: str
    was_refused: bool
    was_drained: bool
    untold: ErrorObject | None = None


@click.group(cls=LazyGroup, table=TOKENS, no_args_is_help=True)
def tokens() -> None:
    """List, drain and resume the tokens that hold the keys."""


@click.command("list")
@config_option
@json_option
@click.pass_obj
def list_tokens(output: Output, /, *, config: Path) -> Exit:
    """List the tokens with their presence, sessions, kind of login and model, without a login.

    Exit code 75 if a token cannot be found or queried.
    """
    scope = load_scope(config)
    owners = token_owners(scope)
    tally = Tally()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda name: _facts(scope, name), scope.tokens))
    with reading_state(scope.file):
        lines = [
            _line(scope, name, owners.get(name), answer)
            for name, answer in zip(scope.tokens, answers, strict=True)
        ]
    for answer in answers:
        tally.add(answer if isinstance(answer, SigningError) else None)
    if output.as_json:
        for line in lines:
            emit(line)
        return tally.exit_code()
    print_table(
        (
            "TOKEN",
            "OWNER",
            "FOUND",
            "DRAINED",
            "LOGIN",
            "SESSIONS",
            "OF",
            "LABEL",
            "SERIAL",
            "MODEL",
            "FIRMWARE",
        ),
        [
            (
                x.token,
                x.owner,
                x.found,
                x.drained,
                x.login,
                x.sessions,
                _limit(x),
                x.label,
                x.serial,
                x.model,
                x.firmware,
            )
            for x in lines
        ],
    )
    for line in lines:
        _print_problems(line)
    return tally.exit_code()


@click.command()
@click.argument("token")
@config_option
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="State directory of a host-started lane (`sigmill lane --state-dir …`). Default: the service's.",
)
@json_option
@click.pass_obj
def resume(output: Output, /, *, token: str, config: Path, state_dir: Path | None) -> Exit:
    """Resume TOKEN after a drain, or after its PIN was refused and has been corrected.

    No lane on any host retries a refused PIN, because a few wrong PINs lock a token permanently. Exit code 75 if other
    hosts could not be told through Redis: they still do not try the PIN.
    """
    scope = load_scope(config)
    if token not in scope.tokens:
        raise ConfigError(str(scope.file), "tokens", f"no token `{token}`", f"Add [tokens.{token}].")
    with reading_state(scope.file):
        drained = DrainedTokens(scope.state_dir).resume(token)
        forgotten = RefusedPins(state_dir or scope.state_dir).forget(token)
    untold = _withdraw_warning(config, token)
    if output.as_json:
        emit(Resumed(token=token, was_refused=forgotten, was_drained=drained, untold=untold))
    else:
        print_message(
            f"{token}: " + ("its PIN may be tried again" if forgotten else "its PIN was not refused")
        )
        print_message(f"{token}: " + ("resumed after the drain" if drained else "it was not drained"))
        if untold is not None:
            print_message(
                f"{token}: other hosts were not told and may still not try the PIN: {untold.message}"
            )
    return Exit.DONE if untold is None else Exit.RETRY


def _withdraw_warning(config: Path, token: str) -> ErrorObject | None:
    """Withdraw the PIN warning for other hosts; return the error, or None."""
    redis = load_service(config).redis
    try:
        run(with_connection(redis, lambda pool: refused_pin_feed.clear(pool, token)))
    except QueueUnavailable as error:
        return error_object(error)
    return None


def _facts(scope: ServiceScope, name: str) -> TokenFacts | SigningError:
    try:
        return TokenAdmin(name, scope.tokens[name], scope.state_dir).show()
    except SigningError as error:
        return error


def _line(scope: ServiceScope, name: str, owner: str | None, answer: TokenFacts | SigningError) -> TokenLine:
    settings = scope.tokens[name]
    line = TokenLine(
        token=name,
        owner=owner,
        found=isinstance(answer, TokenFacts),
        login=_login(settings),
        sessions=settings.sessions,
        pin_refused=RefusedPins(scope.state_dir).is_marked(name),
        drained=name in DrainedTokens(scope.state_dir).names(),
    )
    if isinstance(answer, SigningError):
        return msgspec.structs.replace(line, error=error_object(answer))
    return msgspec.structs.replace(
        line,
        slot=answer.slot,
        label=answer.label,
        serial=answer.serial,
        model=f"{answer.manufacturer} {answer.model}".strip(),
        firmware=answer.firmware,
        module=answer.module,
        most_sessions=answer.most_sessions,
        threads=answer.threads,
        pin_warnings=answer.pin_warnings,
    )


def _login(settings: TokenSettings) -> str:
    return "pin-file" if isinstance(settings.login, PinLogin) else settings.login


def _limit(line: TokenLine) -> str:
    if not line.found or line.most_sessions is None:
        return "unknown"
    return "no limit" if line.most_sessions == 0 else str(line.most_sessions)


def _print_problems(line: TokenLine) -> None:
    if line.error is not None:
        print_message(f"{line.token}: {line.error.message}")
    if line.pin_warnings:
        print_message(f"{line.token}: the token reports {', '.join(line.pin_warnings)}")
    if line.pin_refused:
        print_message(
            f"{line.token}: its PIN was refused; correct the PIN file, then run `sigmill tokens resume {line.token}`"
        )
    if line.most_sessions and line.sessions > line.most_sessions:
        print_message(
            f"{line.token}: {line.sessions} sessions are configured, but the token allows {line.most_sessions}"
        )
