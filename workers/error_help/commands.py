"""Codes that only the command line has: none of them comes from the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workers.error_help.page_types import Step, Text


@dataclass(frozen=True, slots=True)
class CommandCode:
    """A code of the command line: its title, the exit code it ends with, and what is written about it."""

    title: str
    exit_code: int
    text: Text


CODES: Final[dict[str, CommandCode]] = {
    "usage": CommandCode(
        "The command was not called as it must be.",
        2,
        Text(
            "An option or a command that is not there, a value of the wrong form, or something missing. Nothing was done.",
            "Whoever types; a script after an upgrade: options are added, and their removal stands in CHANGELOG.md.",
            (Step("See what it takes:", "sigmill COMMAND --help"),),
        ),
    ),
    "config.invalid": CommandCode(
        "A configuration file has a mistake.",
        2,
        Text(
            "The message names the file, the place in it and what is wrong; the hint says what would be right. A worker that"
            " runs keeps what it had, a command does nothing.",
            "The operator, at each command and at a reload; a build, for client.toml.",
            (
                Step("See all mistakes of the service's files at once:", "sigmill check-config"),
                Step("Then have the workers of the host adopt them:", "sigmill tenants reload"),
            ),
        ),
    ),
    "metrics.unavailable": CommandCode(
        "A metrics page, or a Prometheus, does not answer.",
        75,
        Text(
            "`sigmill top` asked the address that the message names, and got no answer, or one that is no metrics page.",
            "Whoever watches; signing does not depend on it.",
            (
                Step(
                    "See which workers are alive, and where they serve their metrics:", "sigmill workers list"
                ),
                Step(
                    "Name the pages that can be reached from here:", "sigmill top --workers http://HOST:9464"
                ),
            ),
        ),
    ),
    "dev.failed": CommandCode(
        "The private stack of `sigmill dev` did not start, or broke.",
        1,
        Text(
            "One of its programs (redis-server, SoftHSM, a worker) is missing or ended; the message has its last words.",
            "Whoever tries Sigmill on their own machine.",
            (
                Step("Install what is missing, from the repository:", "ops/bootstrap"),
                Step("Keep the folder with its logs:", "sigmill dev --keep"),
            ),
        ),
    ),
}
