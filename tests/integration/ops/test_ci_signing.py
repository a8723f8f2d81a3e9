"""Tests of the pipelines in ops/ci as a runner starts them: their scripts sign through a real relay, issuer, worker and token."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.support.artifacts.pe_files import pe_file
from tests.support.certificates import certificate_for, pem
from tests.support.ci.steps import FOLDER, STEPS
from tests.support.hsm.softhsm import SoftHsm
from tests.support.hsm.tokens import TokenShelf
from tests.support.issuer.running import RunningIssuer
from tests.support.redis.process import RedisProcess
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.rig import Rig
from tests.support.sigmill_cli import environment
from workers.dev.tenants import AUDIENCE, SERVICE_KEY_LABEL

PROGRAM = Path(sys.executable).parent
AZURE_AUDIENCE = "api://AzureADTokenExchange"
ORGANIZATION = "8f7e6d5c-0000-0000-0000-000000000001"
PROJECT = "8f7e6d5c-0000-0000-0000-000000000002"

CLAIMS: dict[str, dict[str, str | None]] = {
    "github": {"ref": "refs/tags/v1.0", "environment": "release"},
    "gitlab": {
        "repository_id": None,
        "project_id": "42",
        "ref": "v1.0",
        "ref_type": "tag",
        "ref_protected": "true",
        "environment": "release",
    },
    "azure": {
        "repository_id": None,
        "aud": AZURE_AUDIENCE,
        "org_id": ORGANIZATION,
        "prj_id": PROJECT,
        "def_id": "12",
        "rpo_ref": "refs/tags/v1.0",
    },
    "jenkins": {"repository_id": None, "ref": None, "sub": "https://jenkins.example/job/release/"},
}
"""Claims that distinguish a token of each system, as its documentation has them; None: not in its tokens."""


class Stack:
    """Worker, relay and issuer, with the identities of ops/ci/README.md in the tenant's file."""

    def __init__(self, folder: Path, rig: Rig, issuer: RunningIssuer, relay: RelayProcess) -> None:
        self.folder = folder
        self.rig = rig
        self.issuer = issuer
        self.relay = relay

    def write_tenant(self) -> None:
        """Certificate and identities of the key `release`."""
        rig, file = self.rig, self.rig.tenant_file("acme")
        public = load_der_public_key(rig.tokens["acme"].keys["acme.release.v1"].spki)
        assert isinstance(public, ec.EllipticCurvePublicKey)
        authority = ec.generate_private_key(ec.SECP256R1())
        chain = pem(certificate_for(public, authority, "release", authority=False))
        chain += pem(certificate_for(authority.public_key(), authority, "CA", authority=True))
        (file.parent / "release.pem").write_bytes(chain)
        (block,) = re.findall(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
        block = block.replace("MFkwEwYH…", self.issuer.site.public_key)
        block = re.sub(r'issuer_url = ".*"', f'issuer_url = "{self.issuer.provider.issuer_url}"', block)
        table, _, rest = block.partition("[keys.release]")
        identities = rest[rest.index("[[keys.release.identities]]") :]
        text = file.read_text().replace('clients = ["*"]', 'clients = []\nissuers = ["ci"]')
        file.write_text(f'{text}certificates = ["release.pem"]\n{table}\n{identities}\n')

    def checkout(self, system: str, folder: Path) -> Path:
        """A checkout with the system's client.toml, and files that a build made."""
        (folder / ".sigmill").mkdir(parents=True)
        text = (FOLDER / system / "client.toml").read_text()
        key = base64.b64encode(self.rig.tokens["service"].keys[SERVICE_KEY_LABEL].spki).decode()
        issuer = (
            f'{{ url = "https://127.0.0.1:{self.issuer.port}", ca_file = "{self.issuer.folder / "ca.pem"}" }}'
        )
        for old, new in (
            ('"prod/eu-west"', f'"{AUDIENCE}"'),
            ("MFkwEwYH…", key),
            ("https://sign.example:8443", f"https://127.0.0.1:{self.relay.port}"),
            ('# ca_file = "relay-ca.pem"', f'ca_file = "{self.relay.ca_file}"'),
            ('{ url = "https://issuer.example:8443" }', issuer),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (folder / ".sigmill" / "client.toml").write_text(text)
        made = folder / ("unsigned" if system == "azure" else "dist")
        made.mkdir()
        for name in ("app.exe", "an app.exe", "setup.msi"):  # the format is told by the content
            (made / name).write_bytes(pe_file(overlay=name.encode()))
        return folder

    def run(
        self, system: str, folder: Path, platform: str, **claims: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run the step that signs, as the system's runner does, with a token of these claims."""
        step = STEPS[system]()
        temporary = folder / "temporary"
        temporary.mkdir(exist_ok=True)
        installed = temporary / "sigmill"
        if not installed.exists():
            installed.mkdir()
            (installed / "bin").symlink_to(PROGRAM)
        TokenService.claims = CLAIMS[system] | claims
        variables = {
            "github": {
                "RUNNER_TEMP": str(temporary),
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"{platform}/token?api-version=2.0",
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
            },
            "gitlab": {"SIGMILL_ID_TOKEN": self.token(system, claims)},
            "azure": {
                "AGENT_TEMPDIRECTORY": str(temporary),
                "PIPELINE_WORKSPACE": str(folder),
                "SYSTEM_OIDCREQUESTURI": f"{platform}/token",
                "SYSTEM_ACCESSTOKEN": "of-the-runner",
            },
            "jenkins": {"WORKSPACE_TMP": str(temporary), "SIGMILL_ID_TOKEN": self.token(system, claims)},
        }[system]
        path = f"{PROGRAM}:{os.environ['PATH']}"
        return subprocess.run(
            [*step.shell, step.script],
            cwd=folder,
            env=environment({"PATH": path, **step.variables, **variables}),
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def token(self, system: str, claims: dict[str, str | None]) -> str:
        return self.issuer.provider.token(None, **(CLAIMS[system] | claims))


class TokenService(BaseHTTPRequestHandler):
    """Service of tokens within a runner: GitHub's by GET with the audience, Azure's by POST."""

    issuer: RunningIssuer
    claims: dict[str, str | None]

    def do_GET(self) -> None:
        (audience,) = parse_qs(urlsplit(self.path).query)["audience"]
        self.reply({"value": self.issuer.provider.token(None, **{**self.claims, "aud": audience})})

    def do_POST(self) -> None:
        self.reply({"oidcToken": self.issuer.provider.token(None, **self.claims)})

    def reply(self, document: dict[str, str]) -> None:
        known = self.headers["Authorization"] == "Bearer of-the-runner"
        body = json.dumps(document if known else {}).encode()
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, shelf: TokenShelf) -> Iterator[Stack]:
    """Started once for all systems."""
    folder = tmp_path_factory.mktemp("ci")
    (folder / "issuer").mkdir()
    redis = RedisProcess(folder / "redis", password="rig-password")
    redis.start()
    try:
        with Rig(directory=folder / "rig", redis=redis, shelf=shelf) as rig:
            issuer = RunningIssuer(
                folder / "issuer",
                SoftHsm(folder / "issuer" / "softhsm"),
                audience=AUDIENCE,
                tenants_dir=rig.directory / "tenants",
            )
            lines = (
                f'unix_socket = "{redis.socket_path}"\npassword_file = "{rig.directory / "redis-password"}"'
            )
            relay = RelayProcess(folder=folder / "relay", audience=AUDIENCE, redis=lines)
            made = Stack(folder, rig, issuer, relay)
            made.write_tenant()
            rig.start_worker()
            with issuer:
                issuer.start()
                relay.start()
                try:
                    yield made
                finally:
                    relay.kill()
    finally:
        redis.close()


@pytest.fixture(scope="module")
def platform(stack: Stack) -> Iterator[str]:
    """Address of the runner's service of tokens."""
    TokenService.issuer = stack.issuer
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenService)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("system", STEPS)
def test_the_step_signs_with_nothing_but_the_token_of_its_system(
    system: str, stack: Stack, platform: str, tmp_path: Path
) -> None:
    """Each file that it names is signed; a name with a space is one name."""
    folder = stack.checkout(system, tmp_path / "checkout")
    ran = stack.run(system, folder, platform)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    named = 3 if ".msi" in STEPS[system]().script + str(STEPS[system]().variables) else 2
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["signed"] * named, ran.stdout


BRANCHES: dict[str, dict[str, str | None]] = {
    "github": {"environment": None},
    "gitlab": {"ref_protected": "false"},
    "azure": {"rpo_ref": "refs/heads/main"},
    "jenkins": {"sub": "https://jenkins.example/job/other/"},
}
"""Claims of builds that may not sign."""


@pytest.mark.parametrize("system", STEPS)
def test_another_build_of_the_system_is_denied(
    system: str, stack: Stack, platform: str, tmp_path: Path
) -> None:
    """The step fails, the message names a claim that does not fit, and no program is changed."""
    folder = stack.checkout(system, tmp_path / "checkout")
    before = {file: file.read_bytes() for file in folder.rglob("*.exe")}
    ran = stack.run(system, folder, platform, **BRANCHES[system])
    assert ran.returncode == 77, ran.stdout + ran.stderr
    assert "[identity.refused]" in ran.stderr
    assert "claim `" in ran.stderr
    assert {file: file.read_bytes() for file in before} == before


def test_a_pattern_without_a_file_fails_the_action(stack: Stack, platform: str, tmp_path: Path) -> None:
    """A release whose installer was not built is not taken for signed."""
    folder = stack.checkout("github", tmp_path / "checkout")
    (folder / "dist" / "setup.msi").unlink()
    ran = stack.run("github", folder, platform)
    assert ran.returncode != 0
    assert "no match" in ran.stderr
    assert not ran.stdout
