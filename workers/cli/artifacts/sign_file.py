"""``sigmill sign-file``: signs files in their own formats, many in one run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Unpack

import click

from queueing.artifacts.batch import Batch, KeyUse
from queueing.artifacts.formats import FormatName
from queueing.artifacts.preparation import Order
from queueing.artifacts.signing_key import SigningKey, signing_key
from queueing.errors import OutputUnwritable
from queueing.protocol.algorithms import algorithm_named
from queueing.protocol.priorities import Priority
from workers.cli.artifacts.file_options import (
    FileArguments,
    FileRun,
    artifacts,
    chain,
    check_time_stamps,
    chosen_format,
    description,
    file_options,
    if_signed,
    stamper,
)
from workers.cli.artifacts.file_report import FileReport
from workers.cli.shell.interrupts import run_stoppable
from workers.cli.shell.options import chosen_request_id
from workers.cli.shell.output import Exit, Output, print_message
from workers.cli.shell.progress import Progress
from workers.cli.signing.hashing import HashMeter
from workers.cli.signing.request_options import client_and_deadline
from workers.cli.signing.wait_notes import wait_notes
from workers.cli.tools.key_notes import validity_note


@click.command("sign-file")
@file_options
@click.pass_obj
def sign_file(output: Output, /, **arguments: Unpack[FileArguments]) -> Exit:
    """Sign FILES in their own format: PE (exe, dll, sys, efi), MSI and CAB with Authenticode; with --format cms by a detached signature.

    Files are hashed here, and only digests leave the host. Each is replaced as a whole, or is as it was if it fails. A file that
    this key has signed is left unchanged, so a rerun signs what is missing; one with another signature is refused.
    """
    client, deadline_s = client_and_deadline(
        arguments["config"], arguments["deadline_s"], accept=arguments["accept"], waits=True
    )
    _check(arguments)
    request_id = chosen_request_id(arguments["request_id"])
    run = FileRun(client, arguments["config"], request_id)
    return run_stoppable(_sign(run, arguments, deadline_s, as_json=output.as_json), run)


def _check(arguments: FileArguments) -> None:
    """Raise ``click.UsageError`` for options that do not fit together."""
    if_signed(arguments)
    description(arguments)
    chosen_format(arguments)
    check_time_stamps(arguments)


async def _sign(run: FileRun, arguments: FileArguments, deadline_s: float, *, as_json: bool) -> Exit:
    name = arguments["algorithm"]
    progress = Progress(len(arguments["files"]))
    async with run.client as client:
        key = signing_key(
            await client.keys(),
            arguments["key"],
            None if name is None else algorithm_named(name),
            chain(arguments),
            certified=chosen_format(arguments) is not FormatName.RAW,
        )
        tell_of_certificate(key, datetime.now(UTC))
        order = Order(
            signer=key.signer,
            if_signed=if_signed(arguments),
            stamped=bool(arguments["time_stamp_urls"]) and not arguments["time_stamp_optional"],
            description=description(arguments),
        )
        use = KeyUse(
            key=key.spec,
            request_id=run.request_id,
            priority=Priority(arguments["priority"]),
            timeout_s=deadline_s,
        )
        report = FileReport(key=key.spec, algorithm=key.signer.algorithm, as_json=as_json, progress=progress)
        async with wait_notes(client, progress, HashMeter()):
            try:
                servers = stamper(arguments)
                await Batch(client, use, order, servers).run(artifacts(arguments), report)
            except OutputUnwritable as error:
                raise _unprinted(error) from error
    return report.finish()


def tell_of_certificate(key: SigningKey, now: datetime) -> None:
    """Print a note about a certificate that is not valid now: files are signed all the same, and their users' machines refuse them."""
    for certificate in key.signer.certificates[:1]:
        note = validity_note(key.spec, certificate, now)
        if note is not None:
            print_message(f"note: {note}")


def _unprinted(error: OutputUnwritable) -> OutputUnwritable:
    return OutputUnwritable(f"{error.message}; run it again: files that are signed stay unchanged")
