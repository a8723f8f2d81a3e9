"""Command lines of the pages, and the README's Python, are run.

What cannot be run here (a machine with systemd, a cluster of Kubernetes, a second Redis) is in ``ELSEWHERE``, with what
is looked at instead, or the test that does the same by other means.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from queueing import Signature, SigningClient
from queueing.broker.dead_letters import DeadLetter, encode_letter
from queueing.protocol import keyspace
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.jobs import JobHints, encode_job
from queueing.unix_time import unix_ms
from tests.support.bench_costs import write_costs
from tests.support.hsm.tokens import TokenShelf
from tests.support.monitoring.prometheus import start_exporter
from tests.support.openssl import Authority
from tests.support.pages import PAGES, ROOT, command_lines
from tests.support.redis.process import RedisProcess
from tests.support.rig.operator import make_user, operator_block
from tests.support.rig.rig import Rig, WorkerProcess, client_block
from tests.support.rig.shared_rig import SharedRig
from tests.support.sigmill_cli import warm_command
from workers.dev.config_files import issuer_file
from workers.dev.private_files import write_private
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_LABEL
from workers.dev.trial_tls import write_authority_and_server
from workers.telemetry.log_events import EVENTS

pytestmark = pytest.mark.timeout(1200)  # the first test runs all commands; each has a limit of its own

LABELS = ("made-by-vendor-tool", "made-by-another-tool")
DEAD = "{acme}" + "d" * 32
COMMAND_TIMEOUT_S = 60.0
IN_ORDER = (
    "keys.md",
    "record-for-tenants.md",
    "record-for-auditors.md",
    "tools.md",
)  # stories from first line to last: test_key_pages.py, test_record_pages.py, and make test-tools, run them
LINES = [
    (page.relative_to(ROOT), line)
    for page in PAGES
    if page.name not in IN_ORDER
    for line in command_lines(page)
]
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


# ------------------------------------------------------------------------------------ what runs elsewhere
def nothing(line: str) -> None:
    """Check nothing: a command of Debian, or one with a test of its own."""


def is_a_target(line: str) -> None:
    """Assert that the line is a target of the Makefile."""
    (target,) = line.split()[1:]
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def names_files(line: str) -> None:
    """Assert that every path of this repository in the line exists."""
    paths = re.findall(r"(?:ops|tests)/[\w./*-]+", line)
    assert paths
    assert all(list(ROOT.glob(path)) for path in paths), paths


def names_units_and_events(line: str) -> None:
    """Assert that every unit in the line has a file, and every event is one that is logged."""
    for unit in re.findall(r"sigmill-\w+", line):
        assert list((ROOT / "ops" / "systemd").glob(f"{unit}*.service")), unit
    for event in re.findall(r"\b[a-z]+\.[a-z]+\b", line.partition("grep")[2]):
        assert event in EVENTS


def names_secrets(line: str) -> None:
    """Assert that the line names secrets that the manifests use."""
    assert f"secretName: {line.split()[6]}" in (ROOT / "ops" / "kubernetes" / "worker.yaml").read_text()


def names_what_the_job_does(line: str) -> None:
    """Assert that the line names a job and volume of the manifests."""
    name = re.sub(r"-\d+$", "-NUMBER", line.rpartition("/")[2])
    assert name in (ROOT / "ops" / "kubernetes" / "release" / "job.yaml").read_text()


def names_services(line: str) -> None:
    """Assert that the line names a service of docker-compose.yml, which ``ops/compose-check`` runs."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    if "run" in line.split():
        assert line.split()[4] in services


ELSEWHERE: dict[str, Callable[[str], None]] = {
    r"make ": is_a_target,
    r"docker compose ": names_services,
    r"kubectl .*create secret ": names_secrets,
    r"kubectl -n sigmill (wait|delete) ": names_what_the_job_does,
    r"kubectl apply .*ops/|sed .* ops/kubernetes/|install .* ops/|prometheus --|([A-Z_]+=\S+ )?\.venv/bin/python -m pytest ": names_files,
    r"systemctl |journalctl ": names_units_and_events,
    r"python3 -m venv |/opt/sigmill/bin/pip |ln -s |export |systemd-sysusers |dmesg |timedatectl|chronyc ": nothing,
    r"apt-get install |install -d |printf .*>/etc/|mkdir -p /etc/systemd/|~/sigmill/bin/": nothing,  # make install-check
    r"pgrep |ss -tn |ls -ld /var/lib/sigmill/record|cp -a /var/lib/sigmill/record": nothing,  # integration/worker/record/test_record.py
    r"chown -R sigmill: ": nothing,  # a host's own user
    r"rm \S+/latest-time$": nothing,  # tests/integration/lanes: the lanes' clocks
    r"sigmill audit find ": nothing,  # tests/unit/workers/cli/audit
    r"sigmill sign-file ": nothing,  # tests/integration/cli/test_sign_file.py
    r"sigmill worker$|sigmill exporter ": nothing,  # the house below has both
    r"sigmill \w+ .*by-token/": nothing,  # test_dev_command.py
    r"sigmill dev |ops/bootstrap": nothing,  # test_dev_command.py; this very environment
    r"sigmill bench quick": nothing,  # make bench-quick
    r"namei -l PATH|df -h PATH": nothing,  # of a file of the reader's
    r"sigmill doctor --config /etc/sigmill/relay\.toml": nothing,  # tests/unit/workers/doctor/test_relay.py
    r"sigmill bench day": nothing,  # make bench-day: minutes of two whole cores
    r"kill -9 ": nothing,  # tests/integration/worker/test_leases.py
    r"sigmill relay |curl .*(:9466/|relay-ca\.pem)": nothing,  # tests/integration/relay
    r"sigmill issuer ": nothing,  # tests/integration/issuer
    r"sigmill stop .*--issuer ": nothing,  # tests/integration/client/test_grants.py
    r"printf .*>\.sigmill/|pip-compile |sigmill run --config \.sigmill/": nothing,  # tests/unit/ops: the pipelines of CI systems
    r"redis-cli .*SENTINEL ": nothing,  # tests/integration/redis: test_losses.py, test_failovers.py
}


def elsewhere(line: str) -> list[str]:
    return [pattern for pattern in ELSEWHERE if re.match(pattern, line)]


HERE = [line for _, line in LINES if not elsewhere(line)]


@pytest.mark.parametrize("line", sorted({line for _, line in LINES if elsewhere(line)}))
def test_what_runs_elsewhere_names_what_there_is(line: str) -> None:
    (pattern,) = elsewhere(line)
    ELSEWHERE[pattern](line)


def test_nothing_is_excused_that_no_page_shows() -> None:
    """Each pattern of ``ELSEWHERE`` matches a line of a page, and far more lines are run than excused."""
    excused = [pattern for _, line in LINES for pattern in elsewhere(line)]
    assert set(excused) == set(ELSEWHERE)
    assert len(HERE) > 1.5 * len(excused)


# ---------------------------------------------------------------------------------------- what runs here
@dataclass(slots=True, kw_only=True)
class House:
    """A running service with a tenant acme, and a shell in a directory with a build's files."""

    rig: Rig
    worker: WorkerProcess
    exporter: WorkerProcess
    folder: Path
    service_key: str
    job: str = ""
    clients: int = 0

    def run(self, line: str) -> subprocess.CompletedProcess[str]:
        """The line with its placeholders filled in."""
        if "deadletter" in line:
            asyncio.run(self.bury())
        return subprocess.run(
            ["bash", "-euc", self.filled_in(line)],
            cwd=self.place_for(line),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )

    def place_for(self, line: str) -> Path:
        """A build's directory; a new one for lines that create a client."""
        if "ops/" in line:
            return ROOT
        if "clients create" not in line:
            return self.folder
        self.clients += 1
        place = self.folder / f"new-{self.clients}"
        place.mkdir()
        (place / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")
        write_private(place / "redis.password", "of the tenant's user\n")
        (place / "connection.toml").write_text(
            f'audience = "{AUDIENCE}"\ntenant = "acme"\nservice_public_keys = ["{self.service_key}"]\n'
            '[redis]\nhost = "queue.example"\n'
        )
        return place

    def filled_in(self, line: str) -> str:
        job = f"'{DEAD if 'deadletter' in line else self.job}'"
        worker_file = self.rig.directory / "--worker.password"
        meanings = {
            r"sudo -u sigmill ": "",
            r"http://HOST:9464": f"http://127.0.0.1:{self.worker.port}",
            r":9464": f":{self.worker.port}",
            r":9465": f":{self.exporter.port}",
            r"/etc/sigmill/(?:relay|issuer)(?=\.(?:pem|key))": str(self.folder / "server"),
            r"/etc/sigmill/(?=(?:relay|issuer)\.toml)": f"{self.folder}/",
            r"/srv/sigmill-logs": str(self.folder / "logs"),
            r"/var/lib/sigmill|STATE_DIR": str(self.rig.state_dir()),
            r"MFkwEwYH…": self.service_key,
            r"'\{acme\}9f2c…'|\bJOB\b": job,
            r"9f86d0…|\bHEX\b": "9f" * 32,
            r"release/2": "release/1",
            r"ADMIN\.toml": str(self.rig.directory / "sigmill-2.toml"),
            r"(?<=--service --token service --type p256)$": " --label another",  # the service has its key
            r"create ada --out ada.key": "create ada --out new.key",
            r"--worker --password-file FILE": f"--worker --password-file {worker_file}",
            r"--password-file FILE": "--password-file acme.password",
            r"--operator NAME --operator-key FILE": "--operator ada --operator-key ada.key",
            r"create NAME": f"create build-{self.clients}",
            r"--key KEY --token": "--key fresh --token",
            r"\bTENANT\b|\bTOKEN\b": "acme",
            r"\bKEY\b": "release",
            r"\bLABEL\b": LABELS[1],
            r"\bCLIENT\b(?= --)": "ci",
            r"\b(NEW-)?ID\b": "build-4711",
            r"\bFILE\b|\brelease\.bin\b": "dist/one.bin",
            r"\bDIR\b": "receipts",
            r"\bRESULTS\b": "results.jsonl",
            r"\bCOMMAND\b": "sign",
            r"--config sigmill.toml": f"--config {self.rig.directory / 'sigmill-1.toml'}",
        }
        for pattern, meaning in meanings.items():
            line = re.sub(pattern, meaning, line)
        return line

    def environment(self) -> dict[str, str]:
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {
            **os.environ,
            "PATH": path,
            "SIGMILL_CONFIG": str(self.rig.directory / "sigmill-1.toml"),
            "REDISCLI_AUTH": str(self.rig.redis.password),
        }

    async def bury(self) -> None:
        """A dead letter of a job that no longer exists."""
        redis = self.rig.connect()
        letter = DeadLetter(
            reason="job.poisoned",
            message="three lanes ended",
            at_ms=unix_ms(),
            worker="host:1",
            attempts=3,
            crashes=3,
            digests=1,
            payload=encode_job(b"an envelope", JobHints(n=1), enqueued_at_ms=1),
        )
        try:
            await redis.hset(keyspace.dead_letters("acme"), DEAD, encode_letter(letter))  # type: ignore[misc, arg-type]
        finally:
            await redis.aclose()


REDIS_CLI = """\
#!/bin/sh
[ "$1" = -h ] && shift 2
exec {real} -s {socket} "$@"
"""


def furnish(folder: Path, redis: RedisProcess) -> None:
    """Preconditions of the pages: files to sign, the report of a bench run, a ``redis-cli`` that finds its server, and a ``sigmill``."""
    (folder / "dist").mkdir()
    for name in ("app.bin", "dist/one.bin", "dist/two.bin"):
        (folder / name).write_bytes(os.urandom(64))
    (folder / "digests.jsonl").write_text('{"name": "a", "digest": "sha256:' + "5a" * 32 + '"}\n')
    (folder / "bin").mkdir()
    shim = folder / "bin" / "redis-cli"
    shim.write_text(REDIS_CLI.format(real=shutil.which("redis-cli"), socket=redis.socket_path))
    shim.chmod(0o755)
    command = folder / "bin" / "sigmill"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(warm_command())} "$@"\n')
    command.chmod(0o755)
    write_costs(folder / "build" / "bench", (KeyKind.P256, KeyKind.RSA_3072))


def furnish_edge(folder: Path, rig: Rig) -> None:
    """Files of a relay and an issuer that do not run."""
    write_authority_and_server(folder, host="127.0.0.1")
    (folder / "relay.toml").write_text(
        f'audience = "{AUDIENCE}"\n[tls]\ncertificate_file = "server.pem"\nprivate_key_file = "server.key"\n'
        '[tenants.acme.redis]\nhost = "queue.example"\n'
    )
    key = rig.tokens["service"].keys[SERVICE_KEY_LABEL]
    lines = f'state_dir = "state"\nkeys_dir = "keys"\ntenants_dir = "{rig.tenant_file("acme").parent}"'
    (folder / "issuer.toml").write_text(
        issuer_file(
            token=rig.tokens["service"].settings, public_key=key, issuer=lines, http="port = 0", metrics=""
        )
    )


def certify(house: House, folder: Path) -> None:
    """Give the key its first certificate; CHAIN.pem is what the pages renew it with."""
    words = "sigmill keys request --tenant acme --key release"
    asked = house.run(f"{words} --subject 'CN=Example Ltd' --out first.csr")
    assert asked.returncode == 0, asked.stderr
    chain = Authority(folder / "ca").chain(house.folder / "first.csr")
    shutil.copy(chain, house.folder / "CHAIN.pem")
    attached = house.run(f"{words.replace('request', 'attach-certificate')} CHAIN.pem")
    assert attached.returncode == 0, attached.stderr


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service with tokens of its own, in which keys are created."""
    folder = tmp_path_factory.mktemp("house")
    shelf = TokenShelf(folder / "shelf")
    shelf.get(acme=dict.fromkeys(LABELS, KeyKind.P256))
    with (
        RedisProcess(folder / "redis", password="house", appendonly=True) as redis,
        Rig(directory=folder / "rig", redis=redis, shelf=shelf, tenants={"acme": KeyKind.RSA_3072}) as rig,
    ):
        place = rig.directory / "clients" / "acme"
        furnish(place, redis)
        operator = ClientKey.generate()
        operator.write(place / "ada.key")
        rig.service = operator_block("ada", operator) + "\n[record]\nenabled = true\n"
        rig.config(2)
        rig.config()
        furnish_edge(place, rig)
        rig.redis_user = make_user(rig, "--worker")
        tenant_file = rig.tenant_file("acme")
        tenant_file.write_text(tenant_file.read_text() + client_block("ci", ClientKey.generate()))
        exporter = start_exporter(rig)
        worker = rig.start_worker()
        service_key = base64.b64encode(rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki).decode()
        house = House(rig=rig, worker=worker, exporter=exporter, folder=place, service_key=service_key)
        signed = house.run("sigmill sign --config client.toml --key release dist/*.bin")
        (place / "results.jsonl").write_text(signed.stdout)
        certify(house, folder)
        house.job = json.loads(signed.stdout.splitlines()[0])["job_id"]
        yield house


def act(line: str) -> int:
    """Order of a line: lines that remove something come after lines that need it."""
    acts = ("tokens drain", "tokens resume", "sigmill stop ", "audit seal")
    return next((number for number, words in enumerate(acts, start=1) if words in line), 0)


def test_each_command_does_what_its_page_says(house: House) -> None:
    """The line succeeds, and prints something if that is its purpose.

    `doctor` ends with 1 where this host's package of Redis has known vulnerabilities, and finds nothing else.
    """
    stale = house.rig.redis.is_outdated
    failed = {}
    for line in sorted(dict.fromkeys(HERE), key=act):
        if "audit seal" in line:
            house.worker.child.stop(30.0)
        done = house.run(line)
        if stale and line.endswith("sigmill doctor") and "redis.version" in done.stdout + done.stderr:
            wanted = int(" 1 failed, 0 skipped" in done.stdout + done.stderr)
        else:
            wanted = 0
        if done.returncode != wanted or not done.stdout + done.stderr:
            failed[line] = f"{done.returncode}: {done.stdout[-500:]} {done.stderr[-500:]}"
    assert not failed, "\n".join(f"{line}\n    {why}" for line, why in failed.items())


async def test_the_readmes_python_signs(shared_rig: SharedRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The README's Python runs unchanged in the folder of a client.toml."""
    (example,) = PYTHON.findall((ROOT / "README.md").read_text())
    monkeypatch.chdir(shared_rig.rig.directory / "clients" / "acme")
    names: dict[str, Any] = {
        "digest": os.urandom(32),
        "digests": [os.urandom(32) for _ in range(5)],
        "__name__": "example",
    }
    code = compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    await eval(code, names)  # noqa: S307 - the README's own words
    assert isinstance(names["signature"], Signature)
    assert isinstance(names["outcome"], Signature)
    assert [type(outcome) for outcome in names["outcomes"]] == [Signature] * 5
    assert names["SigningClient"] is SigningClient
