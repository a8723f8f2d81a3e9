"""Options of sign and submit, and the request that they describe."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from queueing import ClientKey
from queueing.client.config import ClientConfig
from queueing.client.delivery.pending_jobs import WaitingJobs
from queueing.protocol.algorithms import Algorithm
from tests.support.fakes.config_files import client_line
from workers.cli.clients.create import toml_text
from workers.cli.signing import request_options
from workers.cli.signing.request_options import (
    AFTER_DEADLINE_S,
    SigningArguments,
    SigningOptions,
    stopped_text,
)
from workers.cli.signing.sign import sign
from workers.cli.signing.submit import submit


@pytest.fixture
def arguments(tmp_path: Path) -> SigningArguments:
    """Arguments with a client.toml and one digest; every other option has its default."""
    ClientKey.generate().write(tmp_path / "client.key")
    config = tmp_path / "client.toml"
    config.write_text(
        toml_text(
            {
                "audience": "test",
                "tenant": "acme",
                "client": "ci",
                "private_key_file": "client.key",
                "service_public_keys": [client_line()],
                "redis": {"host": "localhost"},
            }
        )
    )
    return SigningArguments(
        config=config,
        key="release",
        algorithm=None,
        request_id="build-7",
        priority="normal",
        accept=None,
        deadline_s=None,
        files=(),
        digests=("sha256:" + "00" * 32,),
        manifest=None,
        any_file=False,
    )


def test_defaults(arguments: SigningArguments) -> None:
    """Without --deadline an hour, without --algorithm the key's default, which is asked later."""
    options = SigningOptions.from_arguments(arguments)
    assert (options.key, options.request_id, options.priority) == ("release", "build-7", "normal")
    assert (options.algorithm, options.deadline_s) == (None, 3600.0)


class Terminal(io.StringIO):
    """Stderr that a person sees, or does not."""

    def __init__(self, *, seen: bool) -> None:
        super().__init__()
        self.seen = seen

    def isatty(self) -> bool:
        return self.seen


@pytest.mark.parametrize(
    "on_terminal,waits,deadline_s,expected_s",
    [
        (True, True, None, 3600.0 + AFTER_DEADLINE_S),
        (True, True, 20.0, 20.0 + AFTER_DEADLINE_S),
        (True, True, 80_000.0, 14_400.0),
        (True, False, 20.0, 14_400.0),
        (False, True, 20.0, 14_400.0),
    ],
    ids=[
        "a person waits",
        "a person waits for seconds",
        "a person waits for days",
        "submit",
        "a build waits",
    ],
)
def test_envelopes_of_a_command_that_a_person_waits_for_end_soon_after_its_deadline(
    arguments: SigningArguments,
    monkeypatch: pytest.MonkeyPatch,
    *,
    on_terminal: bool,
    waits: bool,
    deadline_s: float | None,
    expected_s: float,
) -> None:
    """A person who closes the terminal has not cancelled the jobs."""
    made: list[ClientConfig] = []
    monkeypatch.setattr(sys, "stderr", Terminal(seen=on_terminal))
    monkeypatch.setattr(request_options, "SigningClient", lambda config, *_, **__: made.append(config))
    SigningOptions.from_arguments({**arguments, "deadline_s": deadline_s}, waits=waits)
    assert [config.envelope_ttl_s for config in made] == [expected_s]


def test_a_command_that_is_stopped_before_its_client_is_open_says_so(arguments: SigningArguments) -> None:
    """Ctrl-C may come at any moment: no job waits yet, and the sentence needs no open client."""
    options = SigningOptions.from_arguments(arguments)
    assert options.stopped_text() == "interrupted: no job of this command waits in the queue"


def test_a_stopped_command_calls_no_job_submitted_that_was_not_sent() -> None:
    """Nor does it name one in the line that cancels; one whose submit is not answered may be in the queue."""
    file = Path("client.toml")
    jobs = WaitingJobs(queued=("{acme}a", "{acme}b"), sent=("{acme}c",), unsent=("{acme}d",) * 3)
    assert stopped_text(file, jobs, request_id="build-7") == (
        "interrupted: 2 submitted jobs are still signed, 1 is signed if the queue has taken it, 3 were not submitted;"
        " rerun with --request-id build-7 to collect the signatures, or remove those that are not begun:"
        " sigmill cancel --config client.toml '{acme}a' '{acme}b' '{acme}c'"
    )
    assert stopped_text(file, WaitingJobs(unsent=("{acme}d",)), request_id="build-7") == (
        "interrupted: no job of this command waits in the queue; 1 was not submitted: rerun with --request-id build-7 to sign them"
    )


def test_given_values_have_precedence(arguments: SigningArguments) -> None:
    """--deadline outweighs client.toml, and --algorithm is known by its AWS KMS name."""
    with arguments["config"].open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(f"deadline_s = 7.0\n{text}")
    assert SigningOptions.from_arguments(arguments).deadline_s == 7.0
    arguments |= {"deadline_s": 2.0, "algorithm": "ECDSA_SHA_256"}
    options = SigningOptions.from_arguments(arguments)
    assert (options.deadline_s, options.algorithm) == (2.0, Algorithm.ECDSA_SHA_256)


def test_inputs_are_checked_before_the_client_is_read(arguments: SigningArguments) -> None:
    """A usage error comes first: the files of the client are not even opened."""
    arguments |= {"digests": (), "config": Path("/nowhere")}
    with pytest.raises(click.UsageError):
        SigningOptions.from_arguments(arguments)


@pytest.mark.parametrize("command", [sign, submit])
def test_click_passes_what_the_type_declares(command: click.Command) -> None:
    """sign and submit get exactly the arguments of SigningArguments, beside their own."""
    names = {parameter.name for parameter in command.params if parameter.expose_value}
    own = {"raw", "out_dir", "receipts"} if command is sign else {"receipts"}
    assert names == SigningArguments.__annotations__.keys() | own
