"""``sigmill deadletter``: lists, shows, requeues and deletes dead letters."""

from __future__ import annotations

import os
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import msgspec

from queueing.aio.runner import run
from queueing.broker import dead_letters
from queueing.broker.dead_letters import RequeueStatus, StoredLetter
from queueing.errors import JobUnknown
from queueing.redis.connection import with_connection
from queueing.unix_time import from_unix_ms
from workers.cli.commands import DEADLETTER, LazyGroup
from workers.cli.shell.options import chosen_tenants, config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, name_of, print_line, print_message, print_table
from workers.config.loading import load_configuration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.config.service_file import ServiceConfiguration

_REQUEUED: Final = {
    RequeueStatus.QUEUED: "queued",
    RequeueStatus.ALREADY_QUEUED: "already-queued",
    RequeueStatus.GONE: "gone",
}

LAST_MS: Final = 253_402_300_799_000
"""End of the year 9999, the last one of a ``datetime``."""

tenant_option = click.option("--tenant", help="Only this tenant.")
jobs_argument = click.argument("job_ids", nargs=-1, metavar="JOB…")
all_option = click.option("--all", "everything", is_flag=True, help="All dead letters, or all of --tenant.")


class LetterLine(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter in JSON; times in UTC. ``crashes``: number of attempts during which the worker crashed."""

    job_id: str
    tenant: str
    code: str
    message: str
    at: datetime
    worker: str
    attempts: int
    crashes: int
    lane_ends: tuple[str, ...]
    key: str
    algorithm: str
    client: str
    digests: int
    enqueued_at: datetime
    expires_at: datetime


class EndedLine(msgspec.Struct, frozen=True, kw_only=True):
    """Outcome for one dead letter: queued, already-queued, dropped or gone."""

    job_id: str
    outcome: str


@click.group(cls=LazyGroup, table=DEADLETTER, no_args_is_help=True)
def deadletter() -> None:
    """Dead letters: jobs kept after repeated crashes of lanes or workers."""


@click.command("list")
@config_option
@tenant_option
@json_option
@click.pass_obj
def list_letters(output: Output, /, *, config: Path, tenant: str | None) -> Exit:
    r"""List the dead letters, oldest first.

    The other commands take JOB as it is printed here: a byte of an id that is not visible ASCII is an escape (ESC: \x1b),
    a backslash is doubled, and an empty id is \-. Put such an id in single quotes.
    """
    _, found = _read(config, tenant)
    if output.as_json:
        for letter in found:
            emit(_line(letter))
        return Exit.DONE
    print_table(
        ("TENANT", "JOB", "WHEN", "CODE", "KEY", "CLIENT", "DIGESTS", "ATTEMPTS", "CRASHES", "LANES ENDED"),
        [
            (x.tenant, x.job_id, f"{x.at:%F %T}", x.code, x.key, x.client, x.digests, x.attempts, x.crashes, ", ".join(x.lane_ends))
            for x in map(_line, found)
        ],
    )  # fmt: skip
    return Exit.DONE


@click.command()
@click.argument("job_id", metavar="JOB")
@config_option
@tenant_option
@json_option
@click.pass_obj
def show(output: Output, /, *, job_id: str, config: Path, tenant: str | None) -> Exit:
    """Show JOB with its evidence. Its digests are not shown."""
    (found,) = _chosen(_read(config, tenant)[1], (job_id,), everything=False)
    line = _line(found)
    if output.as_json:
        emit(line)
        return Exit.DONE
    for name, value in msgspec.structs.asdict(line).items():
        text = ", ".join(value) if isinstance(value, tuple) else str(value)
        print_line(f"{name.replace('_', ' '):<12} {text or '-'}")
    return Exit.DONE


@click.command()
@jobs_argument
@all_option
@config_option
@tenant_option
@json_option
@click.pass_obj
def retry(
    output: Output, /, *, job_ids: tuple[str, ...], everything: bool, config: Path, tenant: str | None
) -> Exit:
    """Requeue jobs and reset their attempt counters.

    A job whose envelope has expired meanwhile ends as `job.expired`; it is signed once its client reruns with the
    same request id. Exit code 1 if a dead letter no longer exists.
    """
    service, found = _read(config, tenant)
    letters = _chosen(found, job_ids, everything=everything)
    outcomes = run(with_connection(service.redis, lambda redis: dead_letters.requeue(redis, letters)))
    return _print_outcomes(output, letters, [_REQUEUED[outcome] for outcome in outcomes])


@click.command()
@jobs_argument
@all_option
@config_option
@tenant_option
@json_option
@click.pass_obj
def drop(
    output: Output, /, *, job_ids: tuple[str, ...], everything: bool, config: Path, tenant: str | None
) -> Exit:
    """Delete dead letters. Their clients have the error already, and the workers' write-ahead log keeps the jobs."""
    service, found = _read(config, tenant)
    letters = _chosen(found, job_ids, everything=everything)
    outcomes = run(with_connection(service.redis, lambda redis: dead_letters.drop(redis, letters)))
    return _print_outcomes(output, letters, ["dropped" if was_there else "gone" for was_there in outcomes])


def _read(config: Path, tenant: str | None) -> tuple[ServiceConfiguration, list[StoredLetter]]:
    configuration = load_configuration(config)
    tenants = [chosen.name for chosen in chosen_tenants(configuration, tenant)]
    redis = configuration.service.redis
    letters = run(with_connection(redis, lambda redis: dead_letters.letters_of(redis, tenants)))
    if letters.damaged:
        print_message(
            f"{letters.damaged} dead letters are damaged and not shown: another program has written them"
        )
    return configuration.service, letters


def _chosen(
    found: Sequence[StoredLetter], job_ids: tuple[str, ...], *, everything: bool
) -> list[StoredLetter]:
    if everything == bool(job_ids):
        raise click.UsageError("give job ids, or --all")
    if everything:
        return list(found)
    by_name, by_id = defaultdict(list), defaultdict(list)
    for letter in found:
        by_name[name_of(letter.job_id)].append(letter)
        by_id[letter.job_id].append(letter)
    chosen = {job_id: by_name.get(job_id) or by_id.get(os.fsencode(job_id), []) for job_id in job_ids}
    missing = [job_id for job_id, letters in chosen.items() if not letters]
    if missing:
        raise JobUnknown(
            f"no dead letter with this id: {', '.join(missing)}",
            hint="Give ids as `sigmill deadletter list` prints them, in single quotes where they have a backslash.",
        )
    for job_id, letters in chosen.items():
        if len(letters) > 1:
            tenants = ", ".join(letter.tenant for letter in letters)
            raise click.UsageError(
                f"{job_id}: several tenants have a dead letter of this id: {tenants}; give --tenant"
            )
    return list(dict.fromkeys(letters[0] for letters in chosen.values()))


def _print_outcomes(output: Output, letters: Sequence[StoredLetter], outcomes: Sequence[str]) -> Exit:
    for letter, outcome in zip(letters, outcomes, strict=True):
        if output.as_json:
            emit(EndedLine(job_id=name_of(letter.job_id), outcome=outcome))
        else:
            print_message(f"{name_of(letter.job_id)}: {outcome}")
    return Exit.FAILED if "gone" in outcomes else Exit.DONE


def _line(found: StoredLetter) -> LetterLine:
    letter = found.letter
    return LetterLine(
        job_id=name_of(found.job_id),
        tenant=found.tenant,
        code=letter.reason,
        message=letter.message,
        at=_utc(letter.at_ms),
        worker=letter.worker,
        attempts=letter.attempts,
        crashes=letter.crashes,
        lane_ends=letter.lane_ends,
        key=letter.key,
        algorithm=letter.algorithm,
        client=letter.client,
        digests=letter.digests,
        enqueued_at=_utc(letter.enqueued_at_ms),
        expires_at=_utc(letter.expires_at_ms),
    )


def _utc(unix_ms: int) -> datetime:
    """The time; one beyond the year 9999 reads as its end."""
    unix_ms = min(unix_ms, LAST_MS)
    return from_unix_ms(unix_ms)
