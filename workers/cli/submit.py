"""``sigmill submit``: into the queue, and back at once with what ``sigmill wait`` needs."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from queueing.algorithms import Algorithm, algorithm_named
from queueing.client import SigningClient
from queueing.client_config import ClientConfig
from queueing.client_key import ClientKey
from queueing.drafts import Job
from workers.cli.items import Inputs
from workers.cli.options import (
    DEFAULT_DEADLINE_S,
    accept_option,
    algorithm_option,
    chosen_request_id,
    client_config_option,
    deadline_option,
    input_options,
    json_option,
    key_option,
    priority_option,
    request_id_option,
    run,
)
from workers.cli.output import ErrorObject, Exit, Tally, emit, say


class SubmittedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the input; with ``error`` it was not sent."""

    name: str
    digest: str | None = None
    error: ErrorObject | None = None


class SubmittedLine(msgspec.Struct, frozen=True, kw_only=True):
    """What ``submit`` prints and ``wait --job`` reads. ``job`` has the digests that were sent, in order."""

    job_ids: tuple[str, ...]
    job: Job
    items: tuple[SubmittedItem, ...]


@click.command()
@client_config_option
@key_option
@algorithm_option
@request_id_option
@priority_option
@accept_option
@deadline_option
@json_option
@input_options
def submit(
    *,
    config: Path,
    key: str,
    algorithm: str | None,
    request_id: str | None,
    priority: str,
    accept: str | None,
    deadline_s: float | None,
    files: tuple[Path, ...],
    digests: tuple[str, ...],
    manifest: Path | None,
) -> Exit:
    """Submit FILES, digests or a manifest.

    Prints one JSON object: keep it for `sigmill wait --job`. The deadline is for the queue's answer only.
    """
    inputs = Inputs(files, digests, manifest)
    inputs.check()
    settings = ClientConfig.from_file(config)
    client = SigningClient(settings, ClientKey.from_file(Path(settings.private_key_file)), accept=accept)
    return run(
        _submit(
            client,
            inputs,
            key=key,
            algorithm=None if algorithm is None else algorithm_named(algorithm),
            request_id=chosen_request_id(request_id),
            priority=priority,
            deadline_s=deadline_s if deadline_s is not None else settings.deadline_s or DEFAULT_DEADLINE_S,
        )
    )


async def _submit(
    client: SigningClient,
    inputs: Inputs,
    *,
    key: str,
    algorithm: Algorithm | None,
    request_id: str | None,
    priority: str,
    deadline_s: float,
) -> Exit:
    tally = Tally()
    async with client:
        algorithm = algorithm or await client.default_algorithm(key, timeout_s=deadline_s)
        items = [item async for item in inputs.read(algorithm)]
        for item in items:
            tally.add(item.error)
        digests = [item.digest for item in items if item.digest is not None and item.error is None]
        job = await client.submit(
            key, digests, algorithm, request_id, priority=priority, timeout_s=deadline_s
        )
    emit(
        SubmittedLine(
            job_ids=job.job_ids,
            job=job,
            items=tuple(
                SubmittedItem(
                    name=item.name,
                    digest=item.digest_text,
                    error=None if item.error is None else ErrorObject.of(item.error),
                )
                for item in items
            ),
        )
    )
    say(f"{len(digests)} of {len(items)} submitted in {len(job.job_ids)} envelopes")
    return tally.exit_code()
