"""Help for codes of the command line, which the service never returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from workers.error_help.page_types import Step, Text


@dataclass(frozen=True, slots=True)
class CommandCode:
    """Code of the command line: its title, exit code and help text."""

    title: str
    exit_code: int
    text: Text


CODES: Final[dict[str, CommandCode]] = {
    "usage": CommandCode(
        "Invalid command line.",
        2,
        Text(
            "An unknown command or option, an invalid value, or a missing argument. Nothing was done.",
            "Interactive use; scripts after an upgrade: CHANGELOG.md lists removed options.",
            (Step("Show the options and arguments of the command:", "sigmill COMMAND --help"),),
        ),
    ),
    "config.invalid": CommandCode(
        "A configuration file is invalid.",
        2,
        Text(
            "The message names the file, the key and the error; the hint says what would be valid. A running worker keeps its"
            " old configuration, a command does nothing.",
            "The operator, at any command and at a reload; a build, if client.toml is invalid.",
            (
                Step("Show all errors of the service's files:", "sigmill check-config"),
                Step("Then reload the configuration on this host's workers:", "sigmill tenants reload"),
            ),
        ),
    ),
    "descriptors.exhausted": CommandCode(
        "A process has no file descriptors left.",
        1,
        Text(
            "The command may open no further file or connection: its own limit of open files is used up (EMFILE), or the system's (ENFILE).",
            "A person or a unit whose limit is lower than the command needs; a worker needs some for each lane and connection.",
            (
                Step("Show the limit of this shell:", "ulimit -n"),
                Step("Show how many files the system has open, and may have:", "cat /proc/sys/fs/file-nr"),
            ),
        ),
    ),
    "file.unusable": CommandCode(
        "A file or folder cannot be read, written or made.",
        1,
        Text(
            "The message names the file or folder and the reason: no permission, no space, a file where a folder should be.",
            "A person at a command that reads or writes files, often as another user than the one who owns them.",
            (
                Step("Look at the owners and modes of the whole path:", "namei -l PATH"),
                Step("Look at the space and the inodes of its disk:", "df -h PATH; df -i PATH"),
            ),
        ),
    ),
    "install.incomplete": CommandCode(
        "A Python package that the command needs is not installed.",
        2,
        Text(
            "A build host's installation has no HSM library and no metrics server. Commands of the service need both:"
            " they are the extra `worker` of the distribution.",
            "`sigmill worker`, `lane`, `exporter`, `keys`, `tokens`, `doctor`, `top` and `dev` on a build host.",
            (
                Step(
                    "Install the extra, on hosts of the service only:",
                    "/opt/sigmill/bin/pip install 'sigmill[worker]'",
                ),
            ),
        ),
    ),
    "metrics.unavailable": CommandCode(
        "A metrics page or a Prometheus server does not answer.",
        75,
        Text(
            "`sigmill top` requested the address in the message, and got no answer, or one that is not a metrics page.",
            "`sigmill top` only; signing does not depend on it.",
            (
                Step("List the running workers and the addresses of their metrics:", "sigmill workers list"),
                Step(
                    "Give the addresses of metrics pages that are reachable from here:",
                    "sigmill top --workers http://HOST:9464",
                ),
            ),
        ),
    ),
    "dev.failed": CommandCode(
        "The private stack of `sigmill dev` failed.",
        1,
        Text(
            "One of its programs (redis-server, SoftHSM, a worker) is missing or exited; the message has its last output.",
            "`sigmill dev` on a developer's machine.",
            (
                Step("Install missing programs, in the repository:", "ops/bootstrap"),
                Step("Keep the directory with the logs:", "sigmill dev --keep"),
            ),
        ),
    ),
}
