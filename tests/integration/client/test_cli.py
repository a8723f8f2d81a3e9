"""The command line as a build calls it, in a process of its own, against a responder."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from pathlib import Path

import pytest

from queueing import ClientConfig, ClientKey
from queueing.protocol.client_keys import ClientPublicKey
from tests.support.farm.farm import Farm, digests
from tests.support.farm.responder import AUDIENCE
from tests.support.sigmill_cli import run_sigmill, start_sigmill


@pytest.fixture
def config(farm: Farm) -> str:
    return str(farm.client_toml())


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "dist"
    folder.mkdir()
    paths = [folder / f"{i}.bin" for i in range(5)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


async def test_files_are_signed_one_line_each_in_order(
    config: str, files: list[Path], tmp_path: Path
) -> None:
    """A line has name, digest, algorithm, key, version, fingerprint, signature and job id; `verify` accepts it."""
    ran = await run_sigmill("sign", "--config", config, "--key", "release", *map(str, files))
    assert ran.code == 0, ran.err
    assert [line["name"] for line in ran.json()] == [str(f) for f in files]
    assert set(ran.json()[0]) == {
        "name",
        "digest",
        "algorithm",
        "key",
        "key_version",
        "public_key_sha256",
        "signature",
        "job_id",
    }
    assert "request id: run-" in ran.err
    assert "\r" not in ran.err  # no progress line where there is no terminal
    results = tmp_path / "results.jsonl"
    results.write_text(ran.out)
    assert (await run_sigmill("verify", "--config", config, str(results))).code == 0
    files[2].write_bytes(b"changed")
    verified = await run_sigmill("verify", "--config", config, str(results), "--json")
    assert verified.code == 1
    assert [line["verified"] for line in verified.json()] == [True, True, False, True, True]
    digests_only = await run_sigmill("verify", "--config", config, str(results), "--digests-only")
    assert digests_only.code == 0
    files[3].unlink()
    forged = [line | {"digest": line["digest"].replace("sha256", "SHA256")} for line in ran.json()]
    results.write_text("".join(json.dumps(line) + "\n" for line in (*ran.json(), *forged)))
    verified = await run_sigmill("verify", "--config", config, str(results), "--json")
    assert verified.code == 1
    assert [line.get("compared") for line in verified.json()] == [
        "file",
        "file",
        None,
        None,
        "file",
        *[None] * 5,
    ]
    assert "3 verified with their files; 7 failed" in verified.err
    results.write_text("")
    assert (await run_sigmill("verify", "--config", config, str(results))).code == 2


async def test_a_file_that_cannot_be_read_fails_alone(config: str, files: list[Path]) -> None:
    """With a missing file the others are signed, its line has a coded error, and the exit code is 1."""
    files[1].unlink()
    ran = await run_sigmill("sign", "--config", config, "--key", "release", *map(str, files))
    assert ran.code == 1
    assert [("error" in line) for line in ran.json()] == [False, True, False, False, False]
    error = ran.json()[1]["error"]
    assert (error["code"], error["retryable"], error["retry_after_s"]) == ("input.unreadable", False, None)


async def test_raw_and_out_dir(config: str, files: list[Path], tmp_path: Path) -> None:
    """--raw gives r || s of 64 bytes; --out-dir writes a file per item, below the folder."""
    out_dir = tmp_path / "signatures"
    ran = await run_sigmill(
        "sign", "--config", config, "--key", "release", "--raw", "--out-dir", str(out_dir), str(files[0])
    )
    assert ran.code == 0, ran.err
    signature = base64.b64decode(ran.json()[0]["signature"])
    assert len(signature) == 64
    (written,) = out_dir.rglob("*.sig")
    assert written.read_bytes() == signature
    assert written == out_dir.joinpath(*files[0].parts[1:-1], "0.bin.sig")
    verified = await run_sigmill("verify", "--config", config, "-", stdin=ran.out.encode())
    assert verified.code == 0, verified.out

    draft = written.with_name(".0.bin.sig.01234567.new")  # of a killed run, an hour ago and more
    draft.touch()
    os.utime(draft, (0, 0))
    again = await run_sigmill(
        "sign", "--config", config, "--key", "release", "--out-dir", str(out_dir), str(files[0])
    )
    assert again.code == 0, again.err
    assert not draft.exists()


async def test_digests_and_manifests(config: str, tmp_path: Path) -> None:
    """Digests are taken from options and manifests; a malformed line fails alone."""
    one, two = (f"sha256:{d.hex()}" for d in digests(2))
    ran = await run_sigmill(
        "sign", "--config", config, "--key", "release/1", "--digest", one, "--digest", two
    )
    assert [line["digest"] for line in ran.json()] == [one, two]
    manifest = tmp_path / "digests.jsonl"
    manifest.write_text(f'{{"name": "a", "digest": "{one}"}}\nnot json\n\n{{"digest": "{two}"}}\n')
    ran = await run_sigmill("sign", "--config", config, "--key", "release", "--manifest", str(manifest))
    assert ran.code == 1
    assert [line["name"] for line in ran.json()] == ["a", f"{manifest}:2", two]
    piped = await run_sigmill(
        "sign", "--config", config, "--key", "release", "--manifest", "-", stdin=manifest.read_bytes()
    )
    assert len(piped.json()) == 3


async def test_a_wrong_length_is_an_error_of_its_line(config: str) -> None:
    """A digest that is shorter than its name says is digest.length."""
    ran = await run_sigmill("sign", "--config", config, "--key", "release", "--digest", "sha256:abcd")
    assert (ran.code, ran.json()[0]["error"]["code"]) == (1, "digest.length")


async def test_the_ci_run_names_the_request(config: str, farm: Farm, files: list[Path]) -> None:
    """The request id comes from the CI's variables, is printed on stderr, and a rerun signs nothing."""
    environ = {"GITHUB_REPOSITORY": "o/r", "GITHUB_RUN_ID": "7", "GITHUB_JOB": "sign"}
    words = ("sign", "--config", config, "--key", "release", *map(str, files))
    first = await run_sigmill(*words, environ={**environ, "GITHUB_RUN_ATTEMPT": "1"})
    again = await run_sigmill(*words, environ={**environ, "GITHUB_RUN_ATTEMPT": "2"})
    assert "request id: github/o/r/7/sign (from GITHUB_REPOSITORY, GITHUB_RUN_ID, GITHUB_JOB)" in again.err
    assert first.out == again.out
    assert max(farm.responder.signed.values()) == 1


async def test_a_run_that_was_killed_gets_the_done_ones_back(farm: Farm, config: str, tmp_path: Path) -> None:
    """A run that is killed at three quarters and restarted signs everything once."""
    manifest = tmp_path / "digests.jsonl"
    given = digests(4000)
    manifest.write_text("".join(f'{{"digest": "sha256:{d.hex()}"}}\n' for d in given))
    words = ("sign", "--config", config, "--key", "release", "--request-id", "r", "--manifest", str(manifest))
    process = await start_sigmill(*words)
    assert process.stdout is not None
    for _ in range(3000):
        assert await process.stdout.readline()
    process.kill()
    await process.communicate()
    ran = await run_sigmill(*words)
    assert (ran.code, len(ran.json())) == (0, 4000)
    assert set(farm.responder.signed.values()) == {1}


async def test_submit_and_wait(config: str, files: list[Path], tmp_path: Path) -> None:
    """wait reads the output of submit; with a bare job id its lines are unverified."""
    files[1].unlink()
    submitted = await run_sigmill("submit", "--config", config, "--key", "release", *map(str, files))
    assert submitted.code == 1  # one file is missing, the others are submitted
    job = tmp_path / "job.json"
    job.write_text(submitted.out)
    waited = await run_sigmill("wait", "--config", config, "--job", str(job))
    assert waited.code == 1
    assert [line["name"] for line in waited.json()] == [str(f) for f in files]
    assert [("error" in line) for line in waited.json()] == [False, True, False, False, False]
    (job_id,) = submitted.json()[0]["job_ids"]
    bare = await run_sigmill("wait", "--config", config, job_id)
    assert [line["verified"] for line in bare.json()] == [False] * 4
    status = await run_sigmill("status", "--config", config, "--json", job_id)
    assert (status.code, status.json()[0]["state"], status.json()[0]["signed"]) == (0, "done", 4)
    unknown = await run_sigmill("status", "--config", config, "{acme}" + "0" * 32)
    assert unknown.code == 1
    assert "unknown" in unknown.out


@pytest.mark.parametrize(
    "words, code, error",
    [
        (("--key", "relase"), 77, "key.unknown"),
        (("--key", "release", "--algorithm", "ECDSA_SHA256"), 1, "algorithm.unknown"),
    ],
)
async def test_a_typo_is_answered_with_what_was_meant(
    config: str, words: tuple[str, ...], code: int, error: str
) -> None:
    """A denial exits with 77, a wrong name with 1. Errors are `error:` with a code and `hint:` for people, and one JSON object with --json."""
    digest = f"sha256:{digests(1)[0].hex()}"
    ran = await run_sigmill("sign", "--config", config, *words, "--digest", digest)
    assert ran.code == code
    assert "error: " in ran.err
    assert f"[{error}]" in ran.err
    assert "hint: Did you mean " in ran.err
    ran = await run_sigmill("sign", "--config", config, *words, "--digest", digest, "--json")
    assert ran.json()[-1]["error"]["code"] == error


async def test_a_late_item_exits_75_and_names_its_job(config: str, farm: Farm) -> None:
    """After --deadline the line has wait.timeout, which is retryable, and the job id to wait for."""
    await farm.responder.pause()
    digest = f"sha256:{digests(1)[0].hex()}"
    ran = await run_sigmill(
        "sign", "--config", config, "--key", "release", "--deadline", "2s", "--digest", digest
    )
    assert ran.code == 75
    assert (ran.json()[0]["error"]["code"], ran.json()[0]["error"]["retryable"]) == ("wait.timeout", True)
    farm.responder.resume()
    assert (await run_sigmill("wait", "--config", config, ran.json()[0]["job_id"])).code == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("sign",),
        ("sign", "--config", "nowhere.toml", "--key", "k", "--digest", "sha256:00"),
        ("sign", "--config", "nowhere.toml", "--key", "k"),
        ("sign", "--config", "nowhere.toml", "--key", "k", "--digest", "md5:00"),
        ("sign", "--config", "nowhere.toml", "--key", "k", "file", "--digest", "sha256:00"),
        ("sign", "--deadline", "soon"),
        ("nosuchcommand",),
    ],
)
async def test_usage_exits_2(words: tuple[str, ...]) -> None:
    """Usage and configuration errors give exit code 2 and a hint, never a traceback."""
    ran = await run_sigmill(*words)
    assert ran.code == 2
    assert "Traceback" not in ran.err
    assert "hint: " in ran.err or "Usage" in ran.err


async def test_clients_create_makes_a_client_that_works(farm: Farm, tmp_path: Path) -> None:
    """The written client.toml signs once the operator has added the printed lines."""
    out = tmp_path / "client"
    ran = await run_sigmill(
        "clients",
        "create",
        "ci-2",
        "--tenant",
        "acme",
        "--audience",
        AUDIENCE,
        "--redis",
        f"unix://{farm.config.redis_settings().unix_socket}",
        "--service-key",
        farm.config.service_public_keys[0],
        "--out",
        str(out),
        "--json",
    )
    assert ran.code == 0, ran.err
    made = ran.json()[0]
    assert made["tenant_block"].startswith("[clients.ci-2]\npublic_key = ")
    assert (out / "client.key").stat().st_mode & 0o777 == 0o600
    assert ClientConfig.from_file(out / "client.toml").client == "ci-2"
    key = ClientKey.from_file(out / "client.key")
    assert base64.b64encode(key.public_spki).decode() == made["public_key"]
    farm.responder.client_key = ClientPublicKey.from_spki(key.public_spki)
    digest = f"sha256:{digests(1)[0].hex()}"
    signed = await run_sigmill(
        "sign", "--config", str(out / "client.toml"), "--key", "release", "--digest", digest
    )
    assert signed.code == 0, signed.err


async def test_clients_create_overwrites_nothing_and_takes_no_password(farm: Farm, tmp_path: Path) -> None:
    """A second run in the same folder, or a password in the URL, is refused; nothing is left behind."""
    options = ["--tenant", "acme", "--audience", "a", "--service-key", farm.config.service_public_keys[0]]
    out = ["--out", str(tmp_path / "c")]
    refused = await run_sigmill("clients", "create", "ci", *options, *out, "--redis", "redis://:pw@h")
    assert refused.code == 2
    assert "pw" not in refused.err
    bad_key = await run_sigmill(
        "clients", "create", "ci", *options[:-1], "AAAA", *out, "--redis", "redis://h:6379/0"
    )
    assert bad_key.code == 2
    assert not (tmp_path / "c" / "client.key").exists()
    assert (await run_sigmill("clients", "create", "ci", *options, *out, "--redis", "redis://h")).code == 0
    assert (await run_sigmill("clients", "create", "ci", *options, *out, "--redis", "redis://h")).code == 2


async def test_a_reader_that_leaves_is_no_traceback(config: str, tmp_path: Path) -> None:
    """`sigmill sign … | head -1` ends without a traceback."""
    manifest = tmp_path / "digests.jsonl"
    manifest.write_text("".join(f'{{"digest": "sha256:{d.hex()}"}}\n' for d in digests(2000)))
    process = await start_sigmill("sign", "--config", config, "--key", "release", "--manifest", str(manifest))
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    err = await process.stderr.read()
    with contextlib.suppress(ProcessLookupError):
        await process.wait()
    assert b"Traceback" not in err
