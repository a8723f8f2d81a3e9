"""Tokens of the platforms: read each time they are needed, bounded, and never in a message."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from queueing.client.identity import token_sources
from queueing.client.identity.requests import Answer, Request, RequestFailed, send
from queueing.client.identity.settings import IdentitySettings
from queueing.client.identity.token_sources import NoToken, source_of
from queueing.errors import ConfigError, IdentityUnavailable

SECRET = "head.secret-claims.signature"
GITHUB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/token?api-version=2.0",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "bearer-secret",
}
AZURE = {"SYSTEM_OIDCREQUESTURI": "https://azure.example/oidc", "SYSTEM_ACCESSTOKEN": "bearer-secret"}


class Platform:
    """Service of a platform: answers, and the requests that it got."""

    def __init__(self, answer: Answer | RequestFailed) -> None:
        self.answer = answer
        self.requests: list[Request] = []

    async def send(self, request: Request, **_: object) -> Answer:
        self.requests.append(request)
        if isinstance(self.answer, RequestFailed):
            raise self.answer
        return self.answer


def platform(monkeypatch: pytest.MonkeyPatch, answer: Answer | RequestFailed) -> Platform:
    made = Platform(answer)
    monkeypatch.setattr(token_sources, "send", made.send)
    return made


async def told(settings: IdentitySettings, environment: Mapping[str, str]) -> IdentityUnavailable:
    with pytest.raises(IdentityUnavailable) as caught:
        await source_of(settings, environment).token()
    assert "secret" not in str(caught.value)
    return caught.value


async def test_github_is_asked_for_the_audience(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the runner's own bearer token; each call is a new token."""
    service = platform(monkeypatch, Answer(200, f'{{"value":"{SECRET}","count":1}}'.encode()))
    source = source_of(IdentitySettings(platform="github", audience="https://sign.example/prod"), GITHUB)
    assert await source.token() == SECRET
    assert await source.token() == SECRET
    request = service.requests[0]
    assert request.url == (
        "https://runner.example/token?api-version=2.0&audience=https%3A%2F%2Fsign.example%2Fprod"
    )
    assert request.headers["Authorization"] == "Bearer bearer-secret"
    assert request.body is None
    assert len(service.requests) == 2


async def test_azure_is_asked_by_an_empty_post(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the service connection where one is named."""
    service = platform(monkeypatch, Answer(200, f'{{"oidcToken":"{SECRET}"}}'.encode()))
    settings = IdentitySettings(platform="azure", service_connection="0a-1b")
    assert await source_of(settings, AZURE).token() == SECRET
    assert service.requests[0].url == "https://azure.example/oidc?api-version=7.1&serviceConnectionId=0a-1b"
    assert service.requests[0].body == b""


@pytest.mark.parametrize(
    "answer",
    [
        Answer(403, b'{"secret":1}'),
        Answer(200, b"<html>secret"),
        Answer(200, b'{"value":7}'),
        Answer(200, b'{"value":""}'),
        Answer(200, b'{"value":"a b"}'),
        Answer(200, b"[" * 60_000),
        Answer(200, b'{"value":"' + b"x" * 17_000 + b'"}'),
        RequestFailed("no answer within 15 s"),
    ],
    ids=["403", "html", "number", "empty", "blank", "brackets", "huge", "silent"],
)
async def test_an_answer_without_a_token_is_told(
    monkeypatch: pytest.MonkeyPatch, answer: Answer | RequestFailed
) -> None:
    """Retryable: the platform may be away."""
    platform(monkeypatch, answer)
    error = await told(IdentitySettings(platform="github", audience="a"), GITHUB)
    assert error.retryable


async def test_a_job_that_may_not_ask_is_told_what_to_write() -> None:
    """The commonest mistake: the permission, or the mapped variable, is missing."""
    github = await told(IdentitySettings(platform="github", audience="a"), {})
    assert "id-token: write" in github.hint
    assert "SYSTEM_ACCESSTOKEN" in (await told(IdentitySettings(platform="azure"), {})).hint
    gitlab = await told(IdentitySettings(platform="gitlab", variable="SIGN_TOKEN"), {})
    assert "SIGN_TOKEN" in gitlab.message
    assert "id_tokens" in gitlab.hint
    jenkins = await told(IdentitySettings(platform="jenkins", variable="SIGN_TOKEN"), {"SIGN_TOKEN": ""})
    assert "withCredentials" in jenkins.hint


async def test_the_platforms_bearer_token_does_not_go_in_the_clear() -> None:
    """The runner's address is an error unless it is a plain HTTPS one."""
    for url in ("http://runner.example/token", "file:///etc/passwd", "https://user:pw@x/"):
        error = await told(
            IdentitySettings(platform="github", audience="a"), {**GITHUB, "ACTIONS_ID_TOKEN_REQUEST_URL": url}
        )
        assert error.message.startswith("the platform's address for tokens ")


async def test_a_bearer_token_with_a_line_end_is_sent_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file or a command gives it to the variable."""
    service = platform(monkeypatch, Answer(200, f'{{"oidcToken":"{SECRET}"}}'.encode()))
    environment = AZURE | {"SYSTEM_ACCESSTOKEN": "bearer-secret\r\n"}
    assert await source_of(IdentitySettings(platform="azure"), environment).token() == SECRET
    assert service.requests[0].headers["Authorization"] == "Bearer bearer-secret"


@pytest.mark.parametrize(
    "bearer", ["a-secret\nHost: evil", "a-secret b", "sécret-secret", "$(secret)" * 4096]
)
async def test_a_bearer_token_that_is_none_is_told_without_it(bearer: str) -> None:
    """By the name of its variable. Nothing is sent."""
    github = IdentitySettings(platform="github", audience="a")
    error = await told(github, {**GITHUB, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": bearer})
    assert "ACTIONS_ID_TOKEN_REQUEST_TOKEN is no token" in error.message


async def test_a_header_that_cannot_be_sent_is_not_quoted() -> None:
    """Whatever asks: headers have tokens."""
    asked = Request(url="http://127.0.0.1:9/", headers={"Authorization": "secret\n"}, most_bytes=1)
    with pytest.raises(RequestFailed) as failed:
        await send(asked, timeout_s=5.0)
    assert "secret" not in str(failed.value)


async def test_a_variable_and_a_file_are_read_each_time(tmp_path: Path) -> None:
    """Kubernetes and SPIFFE's helper replace the file."""
    environment = {"SIGN_TOKEN": f"{SECRET}\n"}
    gitlab = source_of(IdentitySettings(platform="gitlab", variable="SIGN_TOKEN"), environment)
    assert await gitlab.token() == SECRET
    environment["SIGN_TOKEN"] = "another"
    assert await gitlab.token() == "another"
    file = tmp_path / "token"
    for kind in ("kubernetes", "file", "spiffe", "jenkins"):
        source = source_of(IdentitySettings(platform=kind, file=str(file)), {})
        for text in (SECRET, "second"):
            file.write_text(f"{text}\r\n")
            assert await source.token() == text


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"x" * 20_000, b"\xff\xfe", "tökèn".encode()])
async def test_a_file_that_is_no_token_is_told(tmp_path: Path, content: bytes) -> None:
    """The message names the file, and quotes nothing of it."""
    file = tmp_path / "token"
    file.write_bytes(content)
    error = await told(IdentitySettings(platform="file", file=str(file)), {})
    assert str(file) in error.message
    quoted = content.decode(errors="replace").strip()
    assert not quoted or quoted not in str(error)
    assert str(file) in (await told(IdentitySettings(platform="file", file=f"{file}.gone"), {})).message


VALUES = {
    "empty": (" \n", "it is empty"),
    "too long": ("x" * 16_385, "it has more than 16384 characters"),
    "two lines": (
        "head.secret\nsecret",
        "it has blanks, line ends, or characters that are not printable ASCII",
    ),
    "no ASCII": ("\ufeffhead.secret", "it has blanks, line ends, or characters that are not printable ASCII"),
}


@pytest.mark.parametrize("platform", ["gitlab", "file", "command"])
@pytest.mark.parametrize("kind", VALUES)
async def test_a_value_that_is_no_token_is_told_with_what_to_do(
    kind: str, platform: str, tmp_path: Path
) -> None:
    """The sentence says what is wrong with it, and the hint is of that source alone."""
    value, problem = VALUES[kind]
    file = tmp_path / "token"
    file.write_text(value)
    settings, hint = {
        "gitlab": (IdentitySettings(platform="gitlab", variable="SIGN_TOKEN"), "`id_tokens`"),
        "file": (IdentitySettings(platform="file", file=str(file)), "Name the file"),
        "command": (
            IdentitySettings(platform="command", command=("cat", str(file))),
            "Run the command by hand",
        ),
    }[platform]
    error = await told(settings, {"SIGN_TOKEN": value})
    assert error.message.endswith(f"is no token: {problem}")
    assert hint in error.hint
    assert "GitHub" not in error.hint


async def test_the_end_of_a_command_is_told() -> None:
    """By its signal, where it was ended by one."""
    error = await told(command("import os; os.kill(os.getpid(), 9)"), {})
    assert "was ended by signal 9" in error.message


async def test_an_address_of_the_platform_that_is_none_is_told_as_that() -> None:
    """And not as one that is not https."""
    github = IdentitySettings(platform="github", audience="a")
    error = await told(github, {**GITHUB, "ACTIONS_ID_TOKEN_REQUEST_URL": "https://runner.example/a b"})
    assert error.message == "the platform's address for tokens is no address"


def command(script: str, *, timeout_s: float = 30.0) -> IdentitySettings:
    return IdentitySettings(
        platform="command", command=(sys.executable, "-c", script), command_timeout_s=timeout_s
    )


async def test_a_command_prints_the_token() -> None:
    """Its output is the token, its exit code counts."""
    assert await source_of(command(f"print('{SECRET}')")).token() == SECRET
    assert "exit code 3" in (await told(command("print('x'); raise SystemExit(3)"), {})).message
    gone = IdentitySettings(platform="command", command=("/nowhere/token",))
    assert "/nowhere/token" in (await told(gone, {})).message


async def test_a_command_has_a_time_and_a_size() -> None:
    """One that hangs, or prints for ever, is an error."""
    silent = "import signal, sys; sys.stdin.read(); signal.alarm(30); signal.pause()"
    hanging = command(silent, timeout_s=0.2)
    assert "longer than 0.2 s" in (await told(hanging, {})).message
    flood = command("while True: print('x' * 1000)")
    assert "is no token" in (await told(flood, {})).message


async def test_a_certificate_is_an_identity_without_a_token() -> None:
    """The client shows the certificate by TLS."""
    settings = IdentitySettings(platform="spiffe", certificate_file="c.pem", private_key_file="k.pem")
    source = source_of(settings, {})
    assert isinstance(source, NoToken)
    assert await source.token() == ""


def test_settings_without_a_source_are_a_mistake() -> None:
    """Told when the client is opened, where ``checked`` was not asked before."""
    with pytest.raises(ConfigError, match="no source"):
        source_of(IdentitySettings(platform="file"), {})
