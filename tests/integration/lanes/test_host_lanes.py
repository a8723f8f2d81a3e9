"""Host-started lane of another user: accepts only the worker's uid, over a unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from queueing import Signature
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.hsm.tokens import new_token
from tests.support.rig.rig import MakeRig, Rig
from tests.support.tools import tool
from tests.support.waiting import until, until_async
from workers.config.settings import PinLogin
from workers.dev.private_files import write_private
from workers.dev.tenants import DevTenant

CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.settimeout(10)
    connection.connect(sys.argv[1])
    try:
        print(len(connection.recv(100)))
    except ConnectionResetError:
        print(0)
"""

SO_ACCEPTCON = 0x10000  # __SO_ACCEPTCON of linux/net.h, in the flags of /proc/net/unix


def plain(user: str) -> list[str]:
    """Prefix of a command that runs it as this user, with no other right."""
    entry = pwd.getpwnam(user)
    return [tool("setpriv"), "--reuid", str(entry.pw_uid), "--regid", str(entry.pw_gid), "--clear-groups"]


def running(user: str) -> list[str]:
    """The same for a command in Python: it can still read the interpreter, wherever that is."""
    if os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    reading = [*plain(user), "--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    for words in (plain(user), reading):
        tried = subprocess.run(
            [
                *words,
                sys.executable,
                "-c",
                "import workers.lanes.process.unix_server, workers.cli.processes.lane",
            ],
            check=False,
            capture_output=True,
            timeout=20,
        )
        if tried.returncode == 0:
            return words
    pytest.skip("another user cannot run this interpreter, and CAP_DAC_READ_SEARCH is not ours to give")


@pytest.fixture
def as_nobody() -> list[str]:
    """Prefix of a command that runs it as the user nobody."""
    return running("nobody")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A short folder that other users may enter: pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="sigmill-host-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


class HostLane:
    """``sigmill lane`` as an init system would run it: started again whenever it ends."""

    def __init__(
        self,
        config: Path,
        before: Sequence[str] = (),
        *,
        service: bool = False,
        state_dir: Path | None = None,
        credentials: Path | None = None,
    ) -> None:
        command = [sys.executable, "-I", "-m", "workers.cli", "lane", "--config", str(config)]
        command += ["--token", "service"] if service else ["--token", "acme", "--tenant", "acme"]
        command += [] if state_dir is None else ["--state-dir", str(state_dir)]
        self._command = [*before, *command]
        self._environment = {"PATH": os.defpath}
        if credentials is not None:
            self._environment["CREDENTIALS_DIRECTORY"] = str(credentials)
        self.log = config.with_suffix(".service-lane.log" if service else ".lane.log")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        return self.process

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def host_rig(make_rig: MakeRig, folder: Path, worker_uid: int) -> Rig:
    """The lane of acme is host-started, behind a socket; the worker has no PIN file of acme."""
    rig = make_rig(
        directory=folder / "rig", token={"acme": f'socket = "lane.sock"\nworker_uid = {worker_uid}'}
    )
    rig.directory.chmod(0o755)
    own = new_token(folder / "hsm", "acme", {"acme.release.v1": KeyKind.P256})
    rig.tokens["acme"] = own
    rig.keys.clear()
    shutil.rmtree(rig.directory / "clients")
    rig._write_tenant(DevTenant(name="acme", kind=KeyKind.P256))
    return rig


def listening(rig: Rig) -> bool:
    """Of a socket that is bound and does not listen yet the file is there, and connections are refused."""
    place = str(rig.directory / "lane.sock")
    sockets = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(line[-1] == place and int(line[3], 16) & SO_ACCEPTCON for line in sockets[1:])


async def test_a_host_lane_signs_for_the_worker_and_is_replaced_when_it_ends(
    open_folder: Path, make_rig: MakeRig
) -> None:
    """The worker connects when it has work, and again after the host has restarted the lane."""
    rig = host_rig(make_rig, open_folder, os.getuid())
    lane = HostLane(rig.config())
    try:
        until(lambda: listening(rig), "the lane listens")
        worker = rig.start_worker()
        async with rig.client() as client:
            first = [o async for o in client.sign_many("release", digests(100), timeout_s=60)]
            assert "acme" not in worker.lanes(), "the worker started one of its own"
            lane.stop()
            job = await client.submit("release", digests(100, salt="again"))
            await until_async(
                lambda: worker.metric("sigmill_lane_restarts_total", token="acme") >= 1, "it is missed"
            )
            lane.start()
            second = await client.wait(job, timeout_s=40)
        assert [type(outcome) for outcome in [*first, *second]] == [Signature] * 200
        worker.child.stop(20)
        assert lane.process.wait(60) == 0, "it ends with its worker"
    finally:
        lane.stop()


def give(folder: Path, user: str) -> None:
    """The folder, and all below it, to this user."""
    entry = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, entry.pw_uid, entry.pw_gid)


def may_read(user: str, path: Path) -> bool:
    """Whether a process of this user can; asked by a program that needs no right beside the user's own."""
    command = [*plain(user), tool("head"), "-c", "1", str(path)]
    return subprocess.run(command, check=False, capture_output=True, timeout=20).returncode == 0


async def test_a_worker_reads_no_pin_of_a_host_lane_and_does_not_trace_it(
    open_folder: Path, make_rig: MakeRig, as_nobody: list[str]
) -> None:
    """Worker and lane have users of their own and sign together; the worker's user sees its files, not the lane's."""
    as_worker, uid = running("daemon"), pwd.getpwnam("daemon").pw_uid
    rig = host_rig(make_rig, open_folder, uid)
    rig.token = {**rig.token, "service": f'socket = "service.sock"\nworker_uid = {uid}'}
    give(open_folder / "hsm", "nobody")
    state = open_folder / "lane-state"
    state.mkdir(mode=0o700)
    give(state, "nobody")
    give(rig.directory / "redis-password", "daemon")
    rig.directory.chmod(0o777)
    rig.redis.socket_path.parent.chmod(0o755)
    rig.redis.socket_path.chmod(0o777)
    lanes = [HostLane(rig.config(), as_nobody, state_dir=state)]
    try:
        lanes.append(HostLane(rig.config(), service=True))
        until(lambda: listening(rig) and (rig.directory / "service.sock").exists(), "the lanes listen")
        worker = rig.start_worker(before=as_worker)
        async with rig.client() as client:
            outcomes = [o async for o in client.sign_many("release", digests(20), timeout_s=60)]
        assert [type(outcome) for outcome in outcomes] == [Signature] * 20
        pin_file = open_folder / "hsm" / "acme" / "pin"
        assert may_read("nobody", pin_file), "the lane can"
        assert not may_read("daemon", pin_file)
        assert may_read("daemon", rig.directory / "redis-password"), "a file of the worker's own"
        assert Path(f"/proc/{worker.pid}").stat().st_uid == uid
        for name in ("mem", "environ", "maps"):
            assert not may_read("daemon", Path(f"/proc/{lanes[0].process.pid}/{name}")), name
    finally:
        for lane in lanes:
            lane.stop()


async def test_a_host_lane_takes_its_workers_uid_and_nobody_elses(
    open_folder: Path, make_rig: MakeRig, as_nobody: list[str]
) -> None:
    """The lane runs as the user nobody; the connection of any uid but the worker's is closed without an answer."""
    rig = host_rig(make_rig, open_folder, os.getuid())
    give(open_folder / "hsm", "nobody")
    state = open_folder / "lane-state"
    state.mkdir(mode=0o700)
    give(state, "nobody")
    rig.directory.chmod(0o777)
    lane = HostLane(rig.config(), as_nobody, state_dir=state)
    try:
        until(lambda: listening(rig), "the lane listens")
        answer = subprocess.run(
            [*as_nobody, sys.executable, "-c", CONNECT, str(rig.directory / "lane.sock")],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        assert answer.stdout == "0\n", "it answered another uid"
        await until_async(lambda: "lane.stranger" in lane.log.read_text(), "it is said in the log")
        rig.start_worker()
        async with rig.client() as client:
            outcomes = [o async for o in client.sign_many("release", digests(100), timeout_s=60)]
        assert [type(outcome) for outcome in outcomes] == [Signature] * 100
    finally:
        lane.stop()


async def test_a_lane_that_could_not_remember_a_refused_pin_does_not_log_in(
    open_folder: Path, make_rig: MakeRig, as_nobody: list[str]
) -> None:
    """It logs the reason and exits: restarted again and again by its host, it would lock the token."""
    rig = host_rig(make_rig, open_folder, os.getuid())
    give(open_folder / "hsm", "nobody")
    rig.state_dir().mkdir(mode=0o700)
    rig.directory.chmod(0o777)
    lane = HostLane(rig.config(), as_nobody)
    try:
        until(lambda: listening(rig), "the lane listens")
        worker = rig.start_worker()
        async with rig.client() as client:
            await client.submit("release", digests(10))
            await until_async(
                lambda: worker.metric("sigmill_token_circuit_open", token="acme") > 0, "the circuit opens"
            )
        await until_async(lambda: "PIN_MEMORY_UNUSABLE" in lane.log.read_text(), "it says why")
        await until_async(lambda: lane.process.poll() is not None, "it exits")
    finally:
        lane.stop()


def test_strangers_do_not_wear_the_lane_out(open_folder: Path, make_rig: MakeRig) -> None:
    """Each of more connections than its backlog is closed without an answer, and the lane keeps running."""
    rig = host_rig(make_rig, open_folder, os.getuid() + 1)
    lane = HostLane(rig.config())
    try:
        until(lambda: listening(rig), "the lane listens")
        for _ in range(8):  # more than the backlog
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(10)
                stranger.connect(str(rig.directory / "lane.sock"))
                assert stranger.recv(1) == b""
        assert lane.process.poll() is None
    finally:
        lane.stop()


async def test_a_host_lanes_pin_is_a_credential_that_the_worker_has_not(
    open_folder: Path, make_rig: MakeRig
) -> None:
    """As systemd passes it: the configuration names the file, and only the lane's process can open it.

    The folder of refused PINs is in the lane's own state directory.
    """
    rig = host_rig(make_rig, open_folder, os.getuid())
    credentials, state = open_folder / "credentials", open_folder / "lane-state"
    credentials.mkdir()
    write_private(credentials / "acme.pin", f"{rig.tokens['acme'].pin}\n")
    (open_folder / "hsm" / "acme" / "pin").unlink()
    named = PinLogin(pin_file="$CREDENTIALS_DIRECTORY/acme.pin")
    rig.wrap = lambda settings: (
        msgspec.structs.replace(settings, login=named) if settings.select.label == "acme" else settings
    )
    lane = HostLane(rig.config(), state_dir=state, credentials=credentials)
    try:
        until(lambda: listening(rig), "the lane listens")
        worker = rig.start_worker()
        async with rig.client() as client:
            outcomes = [o async for o in client.sign_many("release", digests(20), timeout_s=60)]
        assert [type(outcome) for outcome in outcomes] == [Signature] * 20
        assert (state / "refused-pins").is_dir()
        assert worker.alive
    finally:
        lane.stop()
