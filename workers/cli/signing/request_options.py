"""Options shared by ``sign`` and ``submit``, and the request that they describe."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypedDict

import msgspec

from queueing.client.config import ClientConfig
from queueing.client.delivery.pending_jobs import WaitingJobs
from queueing.client.signing_client import SigningClient
from queueing.errors.counts import agreed, counted
from queueing.protocol.algorithms import Algorithm, algorithm_named
from workers.cli.shell.options import (
    DEFAULT_DEADLINE_S,
    accept_option,
    algorithm_option,
    chosen_request_id,
    client_config_option,
    combined,
    deadline_option,
    input_options,
    json_option,
    key_option,
    priority_option,
    request_id_option,
)
from workers.cli.shell.output import stderr_is_terminal
from workers.cli.signing.inputs import Inputs

AFTER_DEADLINE_S: Final = 60.0
"""Time for which an envelope from a terminal is valid beyond the deadline of its command, for clocks that differ. A person who closes
the terminal has not cancelled the jobs, and no one waits for them. It is no shorter than the deadline: a job that is submitted again
has lost its place in the queue."""

signing_options = combined(
    client_config_option,
    key_option,
    algorithm_option,
    request_id_option,
    priority_option,
    accept_option,
    deadline_option,
    json_option,
    input_options,
)


class SigningArguments(TypedDict):
    """Values of ``signing_options``, as click passes them to a command."""

    config: Path
    key: str
    algorithm: str | None
    request_id: str | None
    priority: str
    accept: str | None
    deadline_s: float | None
    files: tuple[Path, ...]
    digests: tuple[str, ...]
    manifest: Path | None
    any_file: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningOptions:
    """Inputs, key and client of a request. The client is not open yet; ``algorithm`` None: the key's default."""

    client: SigningClient
    inputs: Inputs
    key: str
    algorithm: Algorithm | None
    request_id: str
    config: Path
    priority: str
    deadline_s: float

    @classmethod
    def from_arguments(cls, arguments: SigningArguments, *, waits: bool = False) -> Self:
        """Check the arguments and print the request id; raises ``click.UsageError`` and ``ConfigError``.

        ``waits``: whether the command waits for the signatures.
        """
        inputs = Inputs(
            arguments["files"], arguments["digests"], arguments["manifest"], arguments["any_file"]
        )
        inputs.check()
        client, deadline_s = client_and_deadline(
            arguments["config"], arguments["deadline_s"], accept=arguments["accept"], waits=waits
        )
        name = arguments["algorithm"]
        return cls(
            client=client,
            inputs=inputs,
            key=arguments["key"],
            algorithm=None if name is None else algorithm_named(name),
            config=arguments["config"],
            request_id=chosen_request_id(arguments["request_id"]),
            priority=arguments["priority"],
            deadline_s=deadline_s,
        )

    def stopped_text(self) -> str:
        """Sentence for the person who stopped the command."""
        return stopped_text(self.config, self.client.waiting_jobs, request_id=self.request_id)

    async def resolved_algorithm(self) -> Algorithm:
        """The given algorithm, else the key's default, for which the client must be open."""
        return self.algorithm or await self.client.default_algorithm(self.key, timeout_s=self.deadline_s)


@dataclass(frozen=True, slots=True)
class WaitingCommand:
    """A command that waits for jobs of other runs."""

    client: SigningClient
    config: Path

    def stopped_text(self) -> str:
        """Sentence for the person who stopped the command."""
        return stopped_text(self.config, self.client.waiting_jobs)


def stopped_text(config: Path, jobs: WaitingJobs, *, request_id: str | None = None) -> str:
    """Sentence for a person who stops to wait for these jobs. One that was not submitted is not called so."""
    unsent = (
        f"{len(jobs.unsent):,} {agreed(len(jobs.unsent), 'was', 'were')} not submitted" if jobs.unsent else ""
    )
    again = "wait again with the job ids" if request_id is None else f"rerun with --request-id {request_id}"
    if not jobs.queued and not jobs.sent:
        none = "interrupted: no job of this command waits in the queue"
        return f"{none}; {unsent}: {again} to sign them" if unsent else none
    queued, sent = len(jobs.queued), len(jobs.sent)
    counts = (
        [f"{counted(queued, 'submitted job')} {agreed(queued, 'is', 'are')} still signed"] if queued else []
    )
    counts += (
        [f"{sent:,} {agreed(sent, 'is', 'are')} signed if the queue has taken {agreed(sent, 'it', 'them')}"]
        if sent
        else []
    )
    counts += [unsent] if unsent else []
    ids = " ".join(shlex.quote(job_id) for job_id in (*jobs.queued, *jobs.sent))
    return (
        f"interrupted: {', '.join(counts)}; {again} to collect the signatures, or remove those"
        f" that are not begun: sigmill cancel --config {shlex.quote(str(config))} {ids}"
    )


def client_and_deadline(
    config: Path, deadline_s: float | None, *, accept: str | None = None, waits: bool = False
) -> tuple[SigningClient, float]:
    """Client of a client.toml, and the time to wait: as given, else as in the file, else an hour.

    ``waits``: whether the command waits for what it submits. On a terminal its envelopes are then valid until ``AFTER_DEADLINE_S``
    behind the deadline, at most.
    """
    settings = ClientConfig.from_file(config)
    wait_s = settings.deadline_s or DEFAULT_DEADLINE_S if deadline_s is None else deadline_s
    if waits and stderr_is_terminal():
        shorter_s = min(settings.envelope_ttl_s, wait_s + AFTER_DEADLINE_S)
        settings = msgspec.structs.replace(settings, envelope_ttl_s=shorter_s)
    return SigningClient(settings, settings.client_key(), accept=accept), wait_s
