"""Options of ``sigmill sign-file``, and the files that they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import click

from queueing.agent.certificates import CertificateChain
from queueing.artifacts.authenticode import Description
from queueing.artifacts.batch import Artifact
from queueing.artifacts.formats import SUFFIXES, FormatName
from queueing.artifacts.preparation import IfSigned
from queueing.artifacts.targets import Target
from queueing.artifacts.time_stamps.http import ANSWER_S, HttpTransport, check_url
from queueing.artifacts.time_stamps.servers import TimeStampServers
from queueing.client.signing_client import SigningClient
from queueing.errors import InputUnreadable
from queueing.files.real_paths import RealPaths
from workers.cli.shell.options import (
    Duration,
    accept_option,
    algorithm_option,
    client_config_option,
    combined,
    deadline_option,
    json_option,
    key_option,
    priority_option,
    request_id_option,
)
from workers.cli.signing.request_options import stopped_text

file_options = combined(
    client_config_option,
    key_option,
    algorithm_option,
    click.option(
        "--format",
        "format_name",
        type=click.Choice([str(name) for name in FormatName]),
        help="Format of all FILES; default: by the content of each. cms and raw make a signature file beside each.",
    ),
    click.option(
        "--out-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Write signed files, or signature files, to DIR/NAME instead of in place.",
    ),
    click.option(
        "--replace",
        is_flag=True,
        help="Replace signatures by other certificates, or other files in the place of signature files.",
    ),
    click.option(
        "--append",
        is_flag=True,
        help="Add a second signature to a PE file that has one by another certificate.",
    ),
    click.option(
        "--certificate",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="PEM file with the key's certificate and its issuers, instead of those of the key directory.",
    ),
    click.option("--description", default="", metavar="TEXT", help="Program name that Windows shows."),
    click.option("--url", default="", metavar="URL", help="Address for more information that Windows shows."),
    click.option(
        "--timestamp-url",
        "time_stamp_urls",
        multiple=True,
        metavar="URL",
        help="Time-stamp server (RFC 3161); may be repeated, for servers that are asked when earlier ones fail.",
    ),
    click.option(
        "--timestamp-pause",
        "time_stamp_pause_s",
        type=Duration(),
        default=0.0,
        metavar="DURATION",
        help="Least time between two requests to one server. Default: none, and at most four at once.",
    ),
    click.option(
        "--timestamp-deadline",
        "time_stamp_deadline_s",
        type=Duration(),
        default=120.0,
        metavar="DURATION",
        help="Maximum time for the time-stamp of one file, over all servers and tries. Default: 2m.",
    ),
    click.option(
        "--timestamp-optional",
        "time_stamp_optional",
        is_flag=True,
        help="Sign without a time-stamp if no server gives one, instead of failing the file.",
    ),
    request_id_option,
    priority_option,
    accept_option,
    deadline_option,
    json_option,
    click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path)),
)


class FileArguments(TypedDict):
    """Values of ``file_options``, as click passes them to the command."""

    config: Path
    key: str
    algorithm: str | None
    format_name: str | None
    out_dir: Path | None
    replace: bool
    append: bool
    certificate: Path | None
    description: str
    url: str
    time_stamp_urls: tuple[str, ...]
    time_stamp_pause_s: float
    time_stamp_deadline_s: float
    time_stamp_optional: bool
    request_id: str | None
    priority: str
    accept: str | None
    deadline_s: float | None
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class FileRun:
    """A run that can be stopped: what was written stays, and a rerun signs the rest."""

    client: SigningClient
    config: Path
    request_id: str

    def stopped_text(self) -> str:
        """Sentence for the person who stopped the command."""
        return stopped_text(self.config, self.client.waiting_jobs, request_id=self.request_id)


def if_signed(arguments: FileArguments) -> IfSigned:
    """Treatment of signed files; raises ``click.UsageError``."""
    if arguments["replace"] and arguments["append"]:
        raise click.UsageError("choose --replace or --append")
    if arguments["replace"]:
        return IfSigned.REPLACE
    return IfSigned.APPEND if arguments["append"] else IfSigned.REFUSE


def description(arguments: FileArguments) -> Description:
    """Name and address for Windows; raises ``click.UsageError`` for an address that is not ASCII."""
    if not arguments["url"].isascii():
        raise click.UsageError("--url must be ASCII; write other characters by their escapes, as browsers do")
    try:
        arguments["description"].encode("utf-16-be")
    except UnicodeEncodeError:
        raise click.UsageError("--description is not UTF-8") from None
    return Description(program=arguments["description"], url=arguments["url"])


def check_time_stamps(arguments: FileArguments) -> None:
    """Raise ``click.UsageError`` for addresses that are none, and for options without an address."""
    urls = arguments["time_stamp_urls"]
    for url in urls:
        problem = check_url(url)
        if problem is not None:
            raise click.UsageError(f"--timestamp-url {url}: {problem}")
    if not urls and (arguments["time_stamp_optional"] or arguments["time_stamp_pause_s"]):
        raise click.UsageError("--timestamp-optional and --timestamp-pause need --timestamp-url")
    if urls and arguments["format_name"] == FormatName.RAW:
        raise click.UsageError("a raw signature has no place for a time-stamp; choose --format cms")


def stamper(arguments: FileArguments) -> TimeStampServers | None:
    """The time-stamp servers; None where none is named."""
    urls = tuple(dict.fromkeys(arguments["time_stamp_urls"]))
    if not urls:
        return None
    deadline_s = arguments["time_stamp_deadline_s"]
    return TimeStampServers(
        urls,
        HttpTransport(total_s=min(ANSWER_S, deadline_s)),
        pause_s=arguments["time_stamp_pause_s"],
        deadline_s=deadline_s,
    )


def chain(arguments: FileArguments) -> tuple[bytes, ...] | None:
    """Certificates of ``--certificate``; raises ``ConfigError``."""
    file = arguments["certificate"]
    return None if file is None else CertificateChain.from_file(file).certificates


def artifacts(arguments: FileArguments) -> Sequence[Artifact]:
    """The files with their targets. One that is given twice, or whose target is another's, has an error in its place."""
    return list(_artifacts(arguments["files"], arguments["out_dir"], chosen_format(arguments)))


def chosen_format(arguments: FileArguments) -> FormatName | None:
    """The format of all files, or None; raises ``click.UsageError`` for options that it cannot have."""
    name = arguments["format_name"]
    if name is None:
        return None
    if arguments["append"] and FormatName(name) in SUFFIXES:
        raise click.UsageError(f"--append is for files with their signature inside, not for --format {name}")
    return FormatName(name)


def _artifacts(files: Sequence[Path], out_dir: Path | None, format_: FormatName | None) -> Iterator[Artifact]:
    owners, real = dict[str, Path](), RealPaths()
    suffix = "" if format_ is None else SUFFIXES.get(format_, "")
    for path in files:
        try:
            target = _target(path, out_dir, suffix)
            owner = owners.setdefault(real.of(target.path), path)
        except InputUnreadable as error:
            yield Artifact(path=path, target=Target(path), format=format_, error=error)
            continue
        except (OSError, ValueError) as error:
            unreadable = InputUnreadable(f"the file cannot be read: {error}")
            yield Artifact(path=path, target=Target(path), format=format_, error=unreadable)
            continue
        twice = None if owner is path else InputUnreadable(f"it would be written to the same file as {owner}")
        yield Artifact(path=path, target=target, format=format_, error=twice)


def _target(path: Path, out_dir: Path | None, suffix: str) -> Target:
    if out_dir is not None:
        return Target.below(out_dir, path, suffix)
    return Target.beside(path, suffix) if suffix else Target(path)
