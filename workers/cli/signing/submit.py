"""``sigmill submit``: enqueues jobs and prints the JSON object that ``sigmill wait --job`` reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Unpack

import click
import msgspec

from queueing.client.submitted_job import Job
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.output import ErrorObject, Exit, Tally, emit, print_message
from workers.cli.shell.progress import Progress
from workers.cli.signing.hashing import HashMeter
from workers.cli.signing.out_dir import receipts_in
from workers.cli.signing.request_options import SigningArguments, SigningOptions, signing_options
from workers.cli.signing.wait_notes import wait_notes


class SubmittedItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item of the input; with ``error`` it was not submitted."""

    name: str
    name_bytes: str = ""
    digest: str | None = None
    error: ErrorObject | None = None


class SubmittedLine(msgspec.Struct, frozen=True, kw_only=True):
    """Output of ``submit`` and input of ``wait --job``. ``job`` has the submitted digests in order."""

    job_ids: tuple[str, ...]
    job: Job
    items: tuple[SubmittedItem, ...]


@click.command()
@signing_options
@click.option(
    "--receipts",
    is_flag=True,
    help="Ask for a receipt of each signature; `sigmill wait --job … --receipts DIRECTORY` writes them.",
)
def submit(*, receipts: bool, **arguments: Unpack[SigningArguments]) -> Exit:
    """Submit FILES, digests or a manifest.

    Prints one JSON object: keep it for `sigmill wait --job …`. The deadline covers submission only.
    """
    options = SigningOptions.from_arguments(arguments)
    if receipts:
        options = replace(options, inputs=options.inputs.read_ahead())
        receipts_in(Path()).refuse_equal_paths(options.inputs.names())
    return run_stoppable(_submit(options, receipts=receipts), options)


async def _submit(options: SigningOptions, *, receipts: bool) -> Exit:
    tally = Tally()
    meter, progress = HashMeter(), Progress(options.inputs.count(), done="hashed")
    async with options.client as client, wait_notes(client, progress, meter):
        algorithm = await options.resolved_algorithm()
        items = []
        async for item in options.inputs.read(algorithm, meter):
            items.append(item)
            tally.add(item.error)
            progress.count(ok=item.error is None)
        digests = [item.digest for item in items if item.digest is not None and item.error is None]
        job = await client.submit(
            options.key,
            digests,
            algorithm,
            options.request_id,
            priority=options.priority,
            timeout_s=options.deadline_s,
            receipts=receipts,
        )
    emit(
        SubmittedLine(
            job_ids=job.job_ids,
            job=job,
            items=tuple(
                SubmittedItem(
                    name=item.shown_name,
                    name_bytes=item.name_bytes,
                    digest=item.digest_text,
                    error=None if item.error is None else ErrorObject.of(item.error),
                )
                for item in items
            ),
        )
    )
    print_message(f"{len(digests)} of {len(items)} submitted in {len(job.job_ids)} envelopes")
    return tally.exit_code()
