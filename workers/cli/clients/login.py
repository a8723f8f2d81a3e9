"""``sigmill login``: judgement of the issuer of grants about the identity of this build, here and now."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from queueing.aio.runner import run
from queueing.client.config import ClientConfig
from queueing.client.identity.issuer_client import IssuerClient
from queueing.client.identity.opening import raw_public_key
from queueing.client.identity.token_sources import source_of
from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants.grant_request import GrantJudged, make_request
from workers.cli.shell.options import client_config_option, json_option
from workers.cli.shell.output import Output, emit, print_line, print_message

_SHOWN = 200
"""Characters of a claim."""


class LoginChecked(msgspec.Struct, frozen=True, kw_only=True):
    """Judgement of the issuer, as its answer has it."""

    provider: str
    subject: str
    keys: tuple[str, ...]
    algorithms: tuple[str, ...]
    max_digests: int
    life_s: float


@click.command()
@client_config_option
@click.option(
    "--check", is_flag=True, required=True, help="Ask for a judgement; this command does nothing else."
)
@json_option
@click.pass_obj
def login(output: Output, /, *, config: Path, check: bool) -> None:
    """Get this build's token, show its claims, and ask the issuer what a grant for it would permit.

    Nothing is signed, and the token stays free for the build's own key. Clients obtain and renew their grants themselves: this
    command is for the search of a mistake. The token itself is not printed. Exit code 77 if the issuer refuses it.
    """
    del check  # the only thing that it does
    settings = ClientConfig.from_file(config)
    if settings.identity is None or settings.issuer is None:
        raise ConfigError(
            str(config),
            "identity",
            "is missing: this client signs with a key of its own",
            "Write `identity` and `issuer` to sign with grants; docs/identities.md describes them.",
        )
    judged = run(_judged(settings, as_json=output.as_json))
    if output.as_json:
        emit(LoginChecked(**msgspec.structs.asdict(judged)))
        return
    print_line(f"{judged.subject} ({judged.provider}) gets {', '.join(judged.keys)}")
    print_line(
        f"by {', '.join(judged.algorithms)}; {judged.max_digests} digests in {judged.life_s:g} s a grant"
    )


async def _judged(settings: ClientConfig, *, as_json: bool) -> GrantJudged:
    """Get the token, print its claims for a person, and ask the issuer. Raises a ``SigningError``."""
    identity, issuer = settings.identity, settings.issuer
    assert identity is not None
    assert issuer is not None
    key = ClientKey.generate()
    token = await source_of(identity, public_key=raw_public_key(key)).token()
    if not as_json:
        for name, value in claims_of(token).items():
            print_message(f"{name}: {_shown(name, value)}")
    request = make_request(
        token=token,
        public_key=raw_public_key(key),
        signer=key,
        audience=settings.audience,
        tenant=settings.tenant,
        keys=identity.keys,
    )
    return await IssuerClient(issuer, identity).check(request)


def claims_of(token: str) -> dict[str, Any]:
    """Claims of a token, not verified; empty where it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        claims = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _shown(name: str, value: object) -> str:
    text = json.dumps(value)
    if name in {"exp", "iat", "nbf"} and isinstance(value, int) and 0 <= value < 2**40:
        return f"{text} ({time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(value))})"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
