"""``sigmill tokens``: the tokens of the configuration, as they are found. Nobody logs in for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import msgspec

from queueing.aio.runner import run
from queueing.coordination import refused_pin_feed as pin_warnings
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
from workers.config.loading import ServiceScope, load_premises
from workers.config.service_file import load_service
from workers.config.settings import PinLogin, TokenSettings
from workers.config.tenant_writer import token_owners
from workers.state.directory import reading_state
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.token_admin.client import TokenAdmin
from workers.token_admin.messages import TokenFacts


class TokenLine(msgspec.Struct, frozen=True, kw_only=True):
    """A token of the configuration. ``most_sessions``: 0 without limit, None where it does not say."""

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


@click.group(cls=LazyGroup, table=TOKENS, no_args_is_help=True)
def tokens() -> None:
    """Look at the tokens that hold the keys."""


@click.command("list")
@config_option
@json_option
@click.pass_obj
def list_tokens(output: Output, /, *, config: Path) -> Exit:
    """Show each token: whether it is found, what it is, its sessions, how one logs in. Logs in nowhere.

    Exit code 75 if a token cannot be found or asked.
    """
    premises = load_premises(config)
    owners = token_owners(premises)
    tally = Tally()
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda name: _ask(premises, name), premises.tokens))
    with reading_state(premises.file):
        lines = [
            _line(premises, name, owners.get(name), answer)
            for name, answer in zip(premises.tokens, answers, strict=True)
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
        _say_what_is_wrong(line)
    return tally.exit_code()


@click.command()
@click.argument("token")
@config_option
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="Of a lane that the host starts (`sigmill lane --state-dir …`); else the service's.",
)
@json_option
@click.pass_obj
def resume(output: Output, /, *, token: str, config: Path, state_dir: Path | None) -> Exit:
    """Use TOKEN again: after a drain, or after its PIN was refused and the reason is gone.

    A refused PIN is tried by no lane of any host again, because a few tries lock a token for good. Exit code 75 if
    Redis did not take it: other hosts still hold back.
    """
    premises = load_premises(config)
    if token not in premises.tokens:
        raise ConfigError(str(premises.file), "tokens", f"no token `{token}`", f"Add [tokens.{token}].")
    with reading_state(premises.file):
        drained = DrainedTokens(premises.state_dir).resume(token)
        forgotten = RefusedPins(state_dir or premises.state_dir).forget(token)
    untold = _tell_the_others(config, token)
    if output.as_json:
        emit(Resumed(token=token, was_refused=forgotten, was_drained=drained, untold=untold))
    else:
        print_message(
            f"{token}: " + ("its PIN may be tried again" if forgotten else "no PIN of it was refused")
        )
        print_message(f"{token}: " + ("it takes work again" if drained else "it was not drained"))
        if untold is not None:
            print_message(f"{token}: other hosts were not told, and may hold back still: {untold.message}")
    return Exit.DONE if untold is None else Exit.RETRY


def _tell_the_others(config: Path, token: str) -> ErrorObject | None:
    """What went wrong with it; None when they know."""
    redis = load_service(config).redis
    try:
        run(with_connection(redis, lambda pool: pin_warnings.clear(pool, token)))
    except QueueUnavailable as error:
        return error_object(error)
    return None


class Resumed(msgspec.Struct, frozen=True, kw_only=True):
    """What ``resume`` did; ``untold``: why other hosts may hold back still."""

    token: str
    was_refused: bool
    was_drained: bool
    untold: ErrorObject | None = None


def _ask(premises: ServiceScope, name: str) -> TokenFacts | SigningError:
    try:
        return TokenAdmin(name, premises.tokens[name], premises.state_dir).show()
    except SigningError as error:
        return error


def _line(
    premises: ServiceScope, name: str, owner: str | None, answer: TokenFacts | SigningError
) -> TokenLine:
    settings = premises.tokens[name]
    line = TokenLine(
        token=name,
        owner=owner,
        found=isinstance(answer, TokenFacts),
        login=_login(settings),
        sessions=settings.sessions,
        pin_refused=RefusedPins(premises.state_dir).is_marked(name),
        drained=name in DrainedTokens(premises.state_dir).names(),
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


def _say_what_is_wrong(line: TokenLine) -> None:
    if line.error is not None:
        print_message(f"{line.token}: {line.error.message}")
    if line.pin_warnings:
        print_message(f"{line.token}: the token reports {', '.join(line.pin_warnings)}")
    if line.pin_refused:
        print_message(
            f"{line.token}: its PIN was refused; mend the PIN file, then `sigmill tokens resume {line.token}`"
        )
    if line.most_sessions and line.sessions > line.most_sessions:
        print_message(
            f"{line.token}: {line.sessions} sessions are configured, the token has {line.most_sessions}"
        )
