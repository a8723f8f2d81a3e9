"""Sources of tokens: each gives the token that the build's platform has for it now. No token is in a message or a log."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol
from urllib.parse import quote

import msgspec

from queueing.child_group import end_with_group, kill_group, read_output
from queueing.client.identity.requests import Request, RequestFailed, send
from queueing.client.identity.settings import url_problem
from queueing.errors import ConfigError, IdentityUnavailable
from queueing.files.regular_file import read_regular
from queueing.protocol.grants.grant_request import MAX_TOKEN_CHARACTERS, audience_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from queueing.client.identity.settings import IdentitySettings

_TOKEN: Final = re.compile(rf"^[!-~]{{1,{MAX_TOKEN_CHARACTERS}}}\Z")
_MOST_BYTES: Final = MAX_TOKEN_CHARACTERS + 2
"""A token with a line end behind it."""

_MOST_ANSWER_BYTES: Final = 64 * 1024
_REQUEST_S: Final = 15.0

_FILE_HINT: Final = (
    "Name the file in `identity`, and have the platform write the token into it, and nothing else."
)
_COMMAND_HINT: Final = "Run the command by hand; it has to print the token alone, and end with 0."
_GITHUB_HINT: Final = "Give the job `permissions: id-token: write`."
_AZURE_HINT: Final = "Map the token into the step: `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)`."


class TokenSource(Protocol):
    """Source of tokens."""

    async def token(self) -> str:
        """The token; raises ``IdentityUnavailable`` (retryable)."""


class NoToken:
    """Source of an identity by the certificate of the TLS connection."""

    async def token(self) -> str:
        """Empty."""
        return ""


class VariableToken:
    """Token in an environment variable."""

    def __init__(self, variable: str, environment: Mapping[str, str], hint: str) -> None:
        self._variable = variable
        self._environment = environment
        self._hint = hint

    async def token(self) -> str:
        """The variable's text."""
        return _token_of(self._environment, self._variable, self._hint)


class FileToken:
    """Token in a file, which its owner replaces from time to time."""

    def __init__(self, path: str) -> None:
        self._path = path

    async def token(self) -> str:
        """The file's text, read now."""
        try:
            raw = await asyncio.to_thread(read_regular, Path(self._path), largest_bytes=_MOST_BYTES)
        except OSError as error:
            raise IdentityUnavailable(
                f"the file of the token, {self._path}, cannot be read: {error.strerror}", hint=_FILE_HINT
            ) from None
        return _checked(raw.decode("utf-8", "replace"), f"the file {self._path}", _FILE_HINT)


class CommandToken:
    """Token that a command prints."""

    def __init__(self, command: tuple[str, ...], timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s

    async def token(self) -> str:
        """The command's output; its stderr is that of this process. When its time is over, or this call is cancelled, it is killed with
        all that it started.
        """
        name = self._command[0]
        started: list[subprocess.Popen[bytes]] = []
        try:
            printed, code = await asyncio.to_thread(_run, self._command, self._timeout_s, started)
        except (OSError, ValueError) as error:
            raise IdentityUnavailable(
                f"the command {name} cannot be run: {error}", hint=_COMMAND_HINT
            ) from None
        except asyncio.CancelledError:
            for process in started:
                if process.returncode is None:
                    kill_group(process)
            raise
        if printed is None:
            raise IdentityUnavailable(
                f"the command {name} takes longer than {self._timeout_s:g} s, or a program that it started holds its output",
                hint="Have it end in that time, or give `identity` a longer `command_timeout_s`.",
            )
        if code != 0 and len(printed) <= _MOST_BYTES:  # one that prints more was killed
            ended = f"failed with exit code {code}" if code > 0 else f"was ended by signal {-code}"
            raise IdentityUnavailable(f"the command {name} {ended}", hint=_COMMAND_HINT)
        return _checked(printed.decode("utf-8", "replace"), f"the output of {name}", _COMMAND_HINT)


def _run(
    command: tuple[str, ...], timeout_s: float, started: list[subprocess.Popen[bytes]]
) -> tuple[bytes | None, int]:
    """Output, of which no more is read than a token may have, or None where its time was over; and the exit code. The process is put
    into ``started``. It is killed with its group, unless it has ended: then what it started may continue.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    )
    started.append(process)
    printed = None
    try:
        printed, _ = read_output(process, timeout_s=timeout_s, most_bytes=_MOST_BYTES)
    finally:
        if printed is None or process.returncode is None:
            end_with_group(process)
        elif process.stdout is not None:
            process.stdout.close()
    return printed, process.returncode


class _GithubAnswer(msgspec.Struct, frozen=True):
    value: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARACTERS)]


class GithubToken:
    """Token of a GitHub job, with the audience that the issuer expects.

    https://docs.github.com/actions/reference/security/oidc
    """

    def __init__(self, audience: str, environment: Mapping[str, str]) -> None:
        self._audience = audience
        self._environment = environment

    async def token(self) -> str:
        """A new token, by a request to the runner's service."""
        url = _variable(self._environment, "ACTIONS_ID_TOKEN_REQUEST_URL", _GITHUB_HINT)
        bearer = _token_of(self._environment, "ACTIONS_ID_TOKEN_REQUEST_TOKEN", _GITHUB_HINT)
        joint = "&" if "?" in url else "?"
        body = await _platform(
            f"{url}{joint}audience={quote(self._audience, safe='')}", bearer, None, _GITHUB_HINT
        )
        try:
            return _checked(
                msgspec.json.decode(body, type=_GithubAnswer).value, "GitHub's answer", _GITHUB_HINT
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise IdentityUnavailable("GitHub's answer has no token") from None


class _AzureAnswer(msgspec.Struct, frozen=True, rename="camel"):
    oidc_token: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARACTERS)]


class AzureToken:
    """Token of an Azure DevOps pipeline; its audience is fixed.

    https://learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create
    """

    def __init__(self, service_connection: str | None, environment: Mapping[str, str]) -> None:
        self._connection = service_connection
        self._environment = environment

    async def token(self) -> str:
        """A new token, by a request to the collection's service."""
        url = _variable(self._environment, "SYSTEM_OIDCREQUESTURI", _AZURE_HINT)
        bearer = _token_of(self._environment, "SYSTEM_ACCESSTOKEN", _AZURE_HINT)
        query = "?api-version=7.1" + (f"&serviceConnectionId={self._connection}" if self._connection else "")
        body = await _platform(url + query, bearer, b"", _AZURE_HINT)
        try:
            return _checked(
                msgspec.json.decode(body, type=_AzureAnswer).oidc_token, "Azure's answer", _AZURE_HINT
            )
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise IdentityUnavailable("Azure's answer has no token") from None


def source_of(
    settings: IdentitySettings, environment: Mapping[str, str] | None = None, *, public_key: bytes = b""
) -> TokenSource:
    """Source of the tokens of a client. ``environment``: that of this process. ``public_key``: the ephemeral key, raw, which
    tokens name where the settings say so.
    """
    environment = os.environ if environment is None else environment
    if settings.platform == "github":
        audience = settings.audience or ""
        return GithubToken(audience_for(audience, public_key) if settings.bound else audience, environment)
    if settings.platform == "azure":
        return AzureToken(settings.service_connection, environment)
    if settings.platform == "command":
        return CommandToken(settings.command, settings.command_timeout_s)
    if settings.file is not None:
        return FileToken(settings.file)
    if settings.variable is not None:
        hint = (
            "GitLab: name it under `id_tokens` of the job."
            if settings.platform == "gitlab"
            else "Jenkins: bind the credential to it by `withCredentials`."
        )
        return VariableToken(settings.variable, environment, hint)
    if settings.certificate_file is not None:
        return NoToken()
    raise ConfigError("client.toml", "identity", "has no source of tokens", "See docs/identities.md.")


async def _platform(url: str, bearer: str, body: bytes | None, hint: str) -> bytes:
    """Body of the answer of a platform's service to its own bearer token."""
    problem = url_problem(url)
    if problem is not None:
        raise IdentityUnavailable(
            f"the platform's address for tokens {problem}",
            hint="Leave the variable as the platform sets it.",
        )
    headers = {"Authorization": f"Bearer {bearer}", "Accept": "application/json", "User-Agent": "sigmill"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    request = Request(url=url, headers=headers, body=body, most_bytes=_MOST_ANSWER_BYTES)
    try:
        answer = await send(request, timeout_s=_REQUEST_S)
    except RequestFailed as error:
        raise IdentityUnavailable(f"the platform gave no token: {error}") from None
    if answer.status != 200:
        raise IdentityUnavailable(f"the platform gave no token: HTTP {answer.status}", hint=hint)
    return answer.body


def _variable(environment: Mapping[str, str], name: str, hint: str) -> str:
    text = environment.get(name, "")
    if not text:
        raise IdentityUnavailable(f"the environment variable {name} is missing or empty", hint=hint)
    return text


def _token_of(environment: Mapping[str, str], name: str, hint: str) -> str:
    """A token in a variable; so also the platform's own one: of a header that cannot be sent, ``http.client`` would quote all."""
    return _checked(_variable(environment, name, hint), f"the variable {name}", hint)


def _checked(text: str, place: str, hint: str) -> str:
    token = text.strip(" \t\r\n")
    if _TOKEN.match(token):
        return token
    problem = "has blanks, line ends, or characters that are not printable ASCII"
    if not token:
        problem = "is empty"
    elif len(text) > MAX_TOKEN_CHARACTERS:
        problem = f"has more than {MAX_TOKEN_CHARACTERS} characters"
    raise IdentityUnavailable(f"{place} is no token: it {problem}", hint=hint)
