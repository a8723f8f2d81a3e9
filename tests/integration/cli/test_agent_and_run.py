"""`sigmill run` and `sigmill agent` as a build calls them; the tool is a few lines of Python that speak p11-kit's protocol."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from queueing.errors import PolicyDenied
from tests.support.farm.farm import Farm
from tests.support.sigmill_cli import Ran, run_sigmill, start_sigmill

TOOL = """
import asyncio, os, sys
from pathlib import Path
from tests.support.p11_kit import P11, Failed, Socket

async def main():
    socket = await Socket.connect(Path(os.environ["P11_KIT_SERVER_ADDRESS"].removeprefix("unix:path=")))
    try:
        tool = await P11(socket.exchange).open()
        print((await tool.ecdsa("release", bytes(32))).hex())
    except Failed as failed:
        sys.exit(f"tool: {failed}")

asyncio.run(main())
"""
MODULE = {"SIGMILL_PKCS11_MODULE": "/opt/p11-kit-client.so"}


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    file = tmp_path / "tool.py"
    file.write_text(TOOL)
    return file


async def run(farm: Farm, *words: str | Path, options: tuple[str, ...] = ()) -> Ran:
    environ = {**MODULE, "PYTHONPATH": str(Path(__file__).parents[3])}
    config = str(farm.client_toml())
    return await run_sigmill("run", "--config", config, *options, "--", *words, environ=environ)


async def test_a_command_signs_and_its_exit_code_is_kept(farm: Farm, tool: Path) -> None:
    """The command has the agent's socket and module, and the socket is gone afterwards."""
    ran = await run(farm, sys.executable, tool)
    assert (ran.code, len(ran.out.strip()), ran.err) == (0, 128, "")
    told = 'test -S "$a" || exit 4; echo "$a"; echo $PKCS11_MODULE_PATH; exit 3'
    told = f'a="${{P11_KIT_SERVER_ADDRESS#unix:path=}}"; {told}'
    ran = await run(farm, "sh", "-c", told)
    socket, module = ran.out.splitlines()
    assert (ran.code, module) == (3, "/opt/p11-kit-client.so")
    assert not Path(socket).exists()


async def test_a_denied_signature_is_told_after_the_tools_own_words(farm: Farm, tool: Path) -> None:
    """The tool says CKR_…; the line behind it says why, and the exit code is 77."""
    farm.responder.refuse_next = PolicyDenied("outside its hours")
    ran = await run(farm, sys.executable, tool)
    assert ran.code == 77
    said = ran.err.splitlines()
    assert said[0] == "tool: FUNCTION_REJECTED"
    assert said[1] == "error: release/1: outside its hours [policy.denied]"
    assert said[2].startswith("hint: ")


async def test_reasons_are_also_json(farm: Farm, tool: Path) -> None:
    """With --json a line behind the command's own output has code, sentence and hint."""
    farm.responder.refuse_next = PolicyDenied("outside its hours")
    ran = await run(farm, sys.executable, tool, options=("--json",))
    assert (ran.code, ran.error()["code"], ran.error()["retryable"]) == (77, "policy.denied", False)


async def test_a_signature_that_is_not_made_in_time_ends_with_75(farm: Farm, tool: Path) -> None:
    """A build tries again later; the code says that it may."""
    await farm.responder.pause()
    ran = await run(farm, sys.executable, tool, options=("--deadline", "500ms"))
    assert ran.code == 75
    assert "[wait.timeout]" in ran.err


async def test_a_command_that_did_without_keeps_its_success(farm: Farm, tool: Path) -> None:
    """The denial is a note: the command has decided that it does not matter."""
    farm.responder.refuse_next = PolicyDenied("outside its hours")
    ran = await run(farm, "sh", "-c", f"{sys.executable} {tool} || true")
    assert ran.code == 0
    assert "note: release/1: outside its hours [policy.denied]" in ran.err


async def test_a_command_that_is_not_there_ends_as_in_a_shell(farm: Farm, tmp_path: Path) -> None:
    """127 for an unknown program, 126 for a file that cannot be run, 128 + n for one that a signal ended."""
    assert (await run(farm, "no-such-program")).code == 127
    broken = tmp_path / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    assert (await run(farm, broken)).code == 126
    assert (await run(farm, "sh", "-c", "kill -KILL $$")).code == 137


async def test_an_unknown_key_is_told_before_the_command_runs(farm: Farm, tmp_path: Path) -> None:
    """An unknown key ends with 77, and the command is not run."""
    ran = await run(farm, "touch", tmp_path / "built", options=("--key", "releese"))
    assert ran.code == 77
    assert "[key.unknown]" in ran.err
    assert not (tmp_path / "built").exists()


@pytest.mark.parametrize(
    "options, code, told",
    [
        (("--pgp", "release=missing.asc"), 2, "[config.invalid]"),
        (("--pgp", "../release=x"), 2, "[usage]"),
        (("--certificate", "release=missing.pem"), 2, "[config.invalid]"),
        (("--certificate", "release"), 2, "[usage]"),
    ],
)
async def test_a_wrong_option_is_told_before_the_command_runs(
    farm: Farm, tmp_path: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    """A file that is not there is a mistake of configuration; nothing is built."""
    ran = await run(farm, "touch", tmp_path / "built", options=options)
    assert (ran.code, told in ran.err) == (code, True), ran.err
    assert not (tmp_path / "built").exists()


async def test_a_folder_whose_path_is_too_long_for_a_socket_is_told(farm: Farm, tmp_path: Path) -> None:
    """The error is one of configuration, and names TMPDIR."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    config = str(farm.client_toml())
    ran = await run_sigmill(
        "run", "--config", config, "--", "true", environ={**MODULE, "TMPDIR": str(folder)}
    )
    assert ran.code == 2, ran.err
    assert "[config.invalid]" in ran.err
    assert "TMPDIR" in ran.err


async def test_sigterm_reaches_the_command(farm: Farm, tmp_path: Path) -> None:
    """A CI that cancels a build ends what the build runs."""
    process = await start_sigmill(
        "run",
        "--config",
        str(farm.client_toml()),
        "--",
        "sh",
        "-c",
        "trap 'echo ended; exit 9' TERM; echo begun; while :; do sleep 0.05; done",
        environ=MODULE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"begun\n"
    process.send_signal(signal.SIGTERM)
    assert await process.stdout.readline() == b"ended\n"
    assert await process.wait() == 9


async def test_an_agent_prints_its_address_and_ends_at_sigterm(farm: Farm, tmp_path: Path) -> None:
    """Lines for the shell when tools may connect, exit code 0 and no socket left at the end."""
    socket = Path("/tmp") / f"sigmill-test-{tmp_path.name}-{id(farm):x}.sock"  # short enough for a socket
    process = await start_sigmill(
        "agent", "--config", str(farm.client_toml()), "--socket", str(socket), environ=MODULE
    )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line == f"export P11_KIT_SERVER_ADDRESS=unix:path={socket}\n"
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert not socket.exists()


@pytest.mark.parametrize(
    "command, number", [("agent", signal.SIGTERM), ("agent", signal.SIGINT), ("run", signal.SIGTERM)]
)
async def test_a_signal_ends_what_waits_for_its_keys(
    farm: Farm, tmp_path: Path, command: str, number: signal.Signals
) -> None:
    """As where Redis is away: the exit code is that of the signal, and no file is left."""
    config, left = farm.client_toml(), tmp_path / "left"
    config.write_text(config.read_text().replace("redis.sock", "none.sock"))
    left.mkdir()
    words = ["--socket", str(left / "s")] if command == "agent" else ["--", "true"]
    process = await start_sigmill(
        command, "--config", str(config), *words, environ={**MODULE, "TMPDIR": str(left)}
    )
    assert process.stderr is not None
    assert b"cannot fetch the key directory" in await process.stderr.readline()
    process.send_signal(number)
    async with asyncio.timeout(60):
        assert await process.wait() == 128 + number
    assert list(left.iterdir()) == []
