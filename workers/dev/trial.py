"""``python -m workers.dev.trial``: files of the trial in containers, made by the first container of docker-compose.yml.

A certificate authority and Redis' certificate, Redis' users, SoftHSM tokens with keys and PINs, the configuration
of service and tenants, and a client for each tenant: all random, in volumes, made once. Not for production: the
keys are in software, readable by everybody who can read the volumes.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from queueing.files.folders import entries, entries_below
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.public_keys import PublicKey
from queueing.redis.acl import password_sha256, tenant_rules, worker_rules
from workers.config.loading import load_configuration
from workers.dev.config_files import tenant_text, token_table
from workers.dev.private_files import write_private
from workers.dev.softhsm import make_token
from workers.dev.tenants import (
    AUDIENCE,
    CLIENT,
    SERVICE_KEY_KIND,
    SERVICE_KEY_LABEL,
    SERVICE_TOKEN,
    TENANTS,
)
from workers.dev.trial_edge import TrialEdge
from workers.dev.trial_tls import write_authority_and_server
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workers.config.settings import TokenSettings

_SESSIONS: Final = 2
_PASSWORD_BYTES: Final = 24
_MARK: Final = ".trial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Folders and owners of the trial's files. ``worker`` has the first worker's data (tokens, state).

    The other workers get copies of the tokens, as in an HSM group whose members hold the same keys. Owners are
    uids; with None the files keep the owner of this process.
    """

    config: Path
    worker: Path
    more_workers: tuple[Path, ...]
    redis: Path
    client: Path
    edge: TrialEdge
    redis_host: str
    redis_port: int = 6379
    owner: int | None = None
    redis_owner: int | None = None

    def make(self) -> None:
        """Make all files, unless one earlier run completed all folders: folders of two runs do not fit together."""
        folders = (
            *(self.config, self.worker, *self.more_workers, self.redis, self.client),
            *self.edge.folders,
        )
        marks = {_mark_of(folder) for folder in folders}
        if len(marks) == 1 and None not in marks:
            return
        for folder in folders:
            _empty(folder)
        ca_file = write_authority_and_server(self.redis, host=self.redis_host)
        shutil.copy(ca_file, self.config)
        shutil.copy(ca_file, self.client)
        wanted = {SERVICE_TOKEN: (SERVICE_KEY_KIND, SERVICE_KEY_LABEL)}
        wanted |= {tenant.name: (tenant.kind, tenant.label) for tenant in TENANTS}
        tokens = {name: self._token(name, *key) for name, key in wanted.items()}
        service_key = tokens[SERVICE_TOKEN][1]
        issuer = self.edge.write_issuer(self.config / "tenants", self.client)
        users = ["user default off", f"user worker {' '.join(worker_rules(self._password(self.config)))}"]
        (self.config / "tenants").mkdir()
        for tenant in TENANTS:
            key = ClientKey.generate()
            text = tenant_text(tenant, tokens[tenant.name][1], key, issuer)
            (self.config / "tenants" / f"{tenant.name}.toml").write_text(text, "utf-8")
            password = self._client(tenant.name, key, service_key)
            self.edge.write_client(self.client, tenant, service_key)
            users.append(f"user tenant-{tenant.name} {' '.join(tenant_rules(tenant.name, password))}")
        self.edge.write_relay(
            ca_file,
            self.client,
            tenants=[each.name for each in TENANTS],
            redis=(self.redis_host, self.redis_port),
        )
        (self.redis / "users.acl").write_text("\n".join(users) + "\n", "utf-8")
        for folder in self.more_workers:
            shutil.copytree(self.worker / "tokens", folder / "tokens")
        self._service({name: token for name, (token, _) in tokens.items()}, service_key)
        mark = secrets.token_hex(8)
        for folder in folders:
            (folder / _MARK).write_text(mark, "utf-8")
            owner = self.redis_owner if folder == self.redis else self.edge.owner_of(folder, self.owner)
            _chown(folder, owner)
        (self.config / "sigmill.toml.new").rename(self.config / "sigmill.toml")

    def _token(self, name: str, kind: KeyKind, label: str) -> tuple[TokenSettings, PublicKey]:
        token = make_token(self.worker / "tokens" / name, name, sessions=_SESSIONS)
        key = TokenAdmin(name, token, self.worker / "state").create(kind, label)
        return token, PublicKey.from_spki(key.public_key)

    def _client(self, tenant: str, key: ClientKey, service_key: PublicKey) -> str:
        """Write the client's folder; return the SHA-256 of its Redis password."""
        folder = self.client / tenant
        folder.mkdir()
        key.write(folder / "client.key")
        (folder / "client.toml").write_text(
            f"""\
audience = "{AUDIENCE}"
tenant = "{tenant}"
client = "{CLIENT}"
private_key_file = "client.key"
service_public_keys = ["{base64.b64encode(service_key.spki).decode()}"]

[redis]
host = "{self.redis_host}"
port = {self.redis_port}
username = "tenant-{tenant}"
password_file = "redis.password"
tls = {{ ca_file = "../ca.pem" }}
""",
            "utf-8",
        )
        return self._password(folder)

    def _service(self, tokens: dict[str, TokenSettings], service_key: PublicKey) -> None:
        """Write ``sigmill.toml`` under a temporary name: workers start once it has its final one."""
        tables = [
            f"""\
[service]
audience = "{AUDIENCE}"
state_dir = {json.dumps(str(self.worker / "state"))}

[redis]
host = "{self.redis_host}"
port = {self.redis_port}
username = "worker"
password_file = "redis.password"
tls = {{ ca_file = "ca.pem" }}

[service_key]
token = "{SERVICE_TOKEN}"
public_key = "{base64.b64encode(service_key.spki).decode()}"

[metrics]
host = "0.0.0.0"

[exporter]
host = "0.0.0.0"
""",
            *(token_table(name, token) for name, token in tokens.items()),
        ]
        draft = self.config / "sigmill.toml.new"
        draft.write_text("\n".join(tables), "utf-8")
        load_configuration(draft)

    def _password(self, folder: Path) -> str:
        """Write a new Redis password to the folder; return its SHA-256, the form in Redis' ACL file."""
        password = secrets.token_urlsafe(_PASSWORD_BYTES)
        write_private(folder / "redis.password", f"{password}\n")
        return password_sha256(password)


def _mark_of(folder: Path) -> str | None:
    """Mark of the last complete run; None without one."""
    mark = folder / _MARK
    return mark.read_text("utf-8") if mark.exists() else None


def _empty(folder: Path) -> None:
    """Remove the content left by an interrupted run. The folder itself stays: it is a mount point."""
    folder.mkdir(parents=True, exist_ok=True)
    for entry in entries(folder):
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _chown(folder: Path, owner: int | None) -> None:
    if owner is None:
        return
    for file in (folder, *entries_below(folder)):
        os.chown(file, owner, owner)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the trial's files where docker-compose.yml mounts its volumes."""
    parser = argparse.ArgumentParser(prog="python -m workers.dev.trial", description=__doc__)
    parser.add_argument("--owner", type=int, required=True, help="uid of workers, exporter and clients")
    parser.add_argument("--redis-owner", type=int, required=True)
    parser.add_argument("--front-owner", type=int, required=True, help="uid of the issuer's front")
    parser.add_argument("--lane-owner", type=int, required=True, help="uid of the issuer's lane")
    parser.add_argument("--refresh-owner", type=int, required=True, help="uid of `sigmill issuer refresh`")
    options = parser.parse_args(arguments)
    trial = Trial(
        config=Path("/etc/sigmill"),
        worker=Path("/var/lib/sigmill"),
        more_workers=(Path("/trial/worker-2"),),
        redis=Path("/trial/redis"),
        client=Path("/trial/client"),
        edge=TrialEdge(
            relay=Path("/trial/relay"),
            front=Path("/etc/sigmill-issuer"),
            lane=Path("/var/lib/sigmill-issuer-lane"),
            keys=Path("/var/lib/sigmill-issuer-keys"),
            socket=Path("/run/sigmill-issuer-lane"),
            refresh=Path("/run/sigmill-issuer-refresh"),
            ci=Path("/trial/ci"),
            front_owner=options.front_owner,
            lane_owner=options.lane_owner,
            refresh_owner=options.refresh_owner,
        ),
        redis_host="redis",
        owner=options.owner,
        redis_owner=options.redis_owner,
    )
    trial.make()
    print("tokens, keys, users and files of the trial are ready: NOT FOR PRODUCTION")


if __name__ == "__main__":
    main()
