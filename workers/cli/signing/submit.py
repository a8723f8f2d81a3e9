"""``sigmill submit``: into the queue, and back at once with what ``sigmill wait`` needs."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from queueing.aio.runner import run
from queueing.client.submitted_job import Job
from workers.cli.shell.output import ErrorObject, Exit, Tally, emit, say
from workers.cli.signing.request_options import SigningOptions, ask_options


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
@ask_options
def submit(**asked: Any) -> Exit:
    """Submit FILES, digests or a manifest.

    Prints one JSON object: keep it for `sigmill wait --job …`. The deadline is for the queue's answer only.
    """
    return run(_submit(SigningOptions.of(**asked)))


async def _submit(ask: SigningOptions) -> Exit:
    tally = Tally()
    async with ask.client as client:
        algorithm = await ask.resolved_algorithm()
        items = [item async for item in ask.inputs.read(algorithm)]
        for item in items:
            tally.add(item.error)
        digests = [item.digest for item in items if item.digest is not None and item.error is None]
        job = await client.submit(
            ask.key,
            digests,
            algorithm,
            ask.request_id,
            priority=ask.priority,
            timeout_s=ask.deadline_s,
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
