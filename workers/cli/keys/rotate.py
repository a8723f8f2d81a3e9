"""``sigmill keys rotate``: the next version of a key, and the request for its certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

import click

from queueing.errors import KeyDisabled
from queueing.protocol.public_keys import placeholder_key
from workers.cli.keys.creation_lock import one_creation_at_a_time
from workers.cli.keys.key_request import KIND_NAMES, KeyRequest, print_preview
from workers.cli.keys.new_key import Papers, make_key
from workers.cli.keys.origins.options import OriginArguments, origin_options, wanted_witnesses
from workers.cli.keys.pinned_version import find_key, version_options
from workers.cli.keys.request import (
    RequestArguments,
    RequestedCertificate,
    present_certificate,
    request_options,
)
from workers.cli.shell.options import dry_run_option, json_option
from workers.cli.shell.output import Output
from workers.config.loading import ServiceScope, load_scope


class _RotateArguments(RequestArguments, OriginArguments):
    config: Path
    tenant: str
    key: str
    token: str | None
    kind_name: str | None
    without_request: bool
    dry_run: bool


@click.command()
@version_options
@click.option(
    "--token", metavar="TOKEN", help="Token for the new version. Default: that of the newest version."
)
@click.option(
    "--type",
    "kind_name",
    type=click.Choice(list(KIND_NAMES)),
    help="Kind and size of the new version. Default: that of the newest version.",
)
@request_options
@origin_options
@click.option("--no-request", "without_request", is_flag=True, help="Make no certificate request.")
@dry_run_option
@json_option
@click.pass_obj
def rotate(output: Output, /, **arguments: Unpack[_RotateArguments]) -> None:
    """Create the next version of a key, in state `next`, and the request for its certificate.

    The new version is written into the tenant's file; the present one continues to sign. When the certificate is there,
    `sigmill keys attach-certificate` takes it, and `sigmill keys activate` changes over.
    """
    scope = load_scope(arguments["config"])
    with one_creation_at_a_time(scope):
        _rotate(output, scope, arguments)


def _rotate(output: Output, scope: ServiceScope, arguments: _RotateArguments) -> None:
    _, key = find_key(scope, arguments["tenant"], arguments["key"])
    waiting = [v for v in key.versions if v.state == "next" and v.active_from_ms is None]
    if waiting:
        number = waiting[-1].version
        raise KeyDisabled(
            f"version {number} of {key.name} is waiting already",
            hint=f"`sigmill keys request|activate` use it; `sigmill keys retire --key {key.name}/{number}` drops it.",
        )
    newest = key.versions[-1]
    kind_name = arguments["kind_name"]
    kind = newest.public_key.kind if kind_name is None else KIND_NAMES[kind_name]
    request = KeyRequest(
        scope=scope,
        tenant=arguments["tenant"],
        key=key.name,
        token=arguments["token"] or newest.tokens[0],
        version=None,
        state="next",
        algorithms=(),
        profile=key.profile,
        clients=(),
        write=True,
    )
    edited = request.check(placeholder_key(kind))
    witnesses = wanted_witnesses(arguments, scope, tenant=arguments["tenant"])
    wanted = None
    if not arguments["without_request"]:
        wanted = RequestedCertificate.of(arguments, renewed=present_certificate(key))
    if arguments["dry_run"]:
        print_preview(output, request, kind, None, edited)
        return
    make_key(
        output,
        request,
        kind,
        None,
        Papers(
            event="rotated",
            certificate=wanted,
            witnesses=witnesses,
            left_out=arguments["with_origin"] is False,
        ),
    )
