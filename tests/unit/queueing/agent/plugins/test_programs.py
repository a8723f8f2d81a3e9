"""Both plugins without an agent: requests of other versions and methods, and what the programs import."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.agent.plugins import notation, sigstore
from queueing.agent.plugins.requests import RequestInvalid, Unsupported
from queueing.agent.plugins.sigstore import Request

HEAVY = ("asyncio", "click", "cryptography", "msgspec", "redis", "queueing.client", "workers")
START = {"protocolVersion": "v1", "keyResourceID": "release", "hashFunc": 5}


def cosign(method: str, **options: object) -> list[str]:
    """The words behind the plugin's name, as cosign 2.5 writes them."""
    return ["v1", json.dumps({"initOptions": {**START, **options}, "methodName": method, method: {}})]


def answered(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], program: Any, arguments: list[str]
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a program; no agent is there."""
    monkeypatch.delenv("P11_KIT_SERVER_ADDRESS", raising=False)
    monkeypatch.setattr(sys, "argv", ["plugin", *arguments])
    code = program.main()
    return (code, *capfd.readouterr())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "cosign starts"),
        (["v2", "{}"], "not v2"),
        (["v1", "{"], "no JSON"),
        (["v1", "[" * 100_000], "nested too deeply"),
        (["v1", "{}"], "initOptions.protocolVersion is missing"),
        (cosign("publicKey", protocolVersion="v9"), "not v9"),
        (cosign("encrypt"), "no method encrypt"),
        (cosign("createKey"), "sigmill keys create"),
        (cosign("publicKey", keyResourceID=7), "keyResourceID is no text"),
        (cosign("publicKey", ctxDeadline="soon"), "ctxDeadline is no time"),
        (cosign("publicKey", ctxDeadline="2026-11-27T19:57:12"), "no time zone"),
        (cosign("publicKey"), "sigmill run"),
    ],
)
def test_cosigns_plugin_fails_with_a_sentence_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """cosign prints the sentence behind 'plugin returned error'; the exit code is 1."""
    code, out, err = answered(monkeypatch, capfd, sigstore, arguments)
    assert (code, err) == (1, "")
    assert message in json.loads(out)["errorMessage"]


def test_cosigns_plugin_has_a_default_algorithm(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """cosign asks for it before it creates a key, which then fails with the command to use."""
    code, out, _ = answered(monkeypatch, capfd, sigstore, cosign("defaultAlgorithm"))
    assert (code, json.loads(out)) == (0, {"defaultAlgorithm": {"defaultAlgorithm": "ecdsa-p256"}})


def test_a_version_of_a_key_is_named_in_the_key_or_beside_it() -> None:
    """cosign's own option for versions, and `sigmill://KEY/VERSION`; the key's own word counts."""
    both = {"rpcOptions": {"keyVersion": "2"}}
    assert Request.read(cosign("publicKey")).key == "release"
    assert Request.read(cosign("publicKey", **both)).key == "release/2"
    assert Request.read(cosign("publicKey", keyResourceID="release/3", **both)).key == "release/3"


@pytest.mark.parametrize(
    "number, hash_name",
    [(5, "sha256"), (7, "sha512"), (3, None), (-1, None)],
)
def test_hashes_are_gos_numbers(number: int, hash_name: str | None) -> None:
    """SHA-1 is number 3: refused."""
    request = Request.read(cosign("signMessage", hashFunc=number))
    if hash_name is not None:
        assert request.hash_name(request.fields) == hash_name
        return
    with pytest.raises(RequestInvalid, match="not hash"):
        request.hash_name(request.fields)


@given(st.lists(st.text(max_size=60) | st.just("v1"), max_size=3))
def test_any_words_are_a_request_of_cosign_or_a_sentence(words: list[str]) -> None:
    """Nothing else than `RequestInvalid` is raised."""
    with contextlib.suppress(RequestInvalid):
        Request.read(words)


@pytest.mark.parametrize(
    "arguments, request_text, code_word, message",
    [
        ([], "{}", "VALIDATION_ERROR", "get-plugin-metadata"),
        (["describe-key", "x"], "{}", "VALIDATION_ERROR", "describe-key x"),
        (["verify-signature"], "{}", "VALIDATION_ERROR", "verify-signature"),
        (["describe-key"], '{"contractVersion": ', "VALIDATION_ERROR", "no JSON"),
        (["describe-key"], "{}", "VALIDATION_ERROR", "contractVersion is missing"),
        (["describe-key"], '{"contractVersion": "2.0"}', "UNSUPPORTED_CONTRACT_VERSION", "not 2.0"),
        (["describe-key"], '{"contractVersion": "1.0"}', "VALIDATION_ERROR", "keyId is missing"),
        (["describe-key"], '{"contractVersion": "1.0", "keyId": "release"}', "ERROR", "sigmill run"),
    ],
)
def test_notations_plugin_fails_with_a_code_on_stderr(
    arguments: list[str], request_text: str, code_word: str, message: str
) -> None:
    """Exit code 1 and JSON, from which notation makes its own message; stdout stays empty."""
    code = "import sys; from queueing.agent.plugins.notation import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=request_text,
        capture_output=True,
        text=True,
        check=False,
        env={},
    )
    assert (done.returncode, done.stdout) == (1, "")
    error = json.loads(done.stderr)
    assert error["errorCode"] == code_word
    assert message in error["errorMessage"]


def test_notation_finds_the_plugins_capability() -> None:
    """All fields of the metadata are there, as the specification demands."""
    metadata = dict(notation._metadata())
    assert set(metadata) == {
        "name",
        "description",
        "version",
        "url",
        "supportedContractVersions",
        "capabilities",
    }
    assert all(metadata.values())
    assert metadata["capabilities"] == ["SIGNATURE_GENERATOR.RAW"]


@pytest.mark.parametrize("module", ["sigstore", "notation"])
def test_little_is_imported(module: str) -> None:
    """A plugin starts two or three times for each signature."""
    code = f"import sys, queueing.agent.plugins.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())


def test_other_versions_are_an_error_of_their_own() -> None:
    """notation's plugin has a code of its own for it."""
    with pytest.raises(Unsupported):
        Request.read(["v0", "{}"])
