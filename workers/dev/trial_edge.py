"""Relay and issuer of the trial in containers: their files, and those of builds that have a token alone."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from workers.dev.config_files import issuer_file, token_client
from workers.dev.private_files import write_private
from workers.dev.softhsm import make_token
from workers.dev.tenants import AUDIENCE, ISSUER_KEY_LABEL, ISSUER_TOKEN, DevTenant
from workers.dev.token_provider import KEYS_PATH
from workers.dev.trial_tls import write_authority_and_server
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialEdge:
    """Folders of relay and issuer, and their owners as in ``Trial``.

    ``front``: files of the issuer's front; ``lane``: token and state of its lane; ``keys``: keys of providers; ``socket``: the lane's;
    ``refresh``: the socket by which the lane asks for keys; ``ci``: certificate of the stand-in for a CI system, which serves its
    keys at ``keys_address`` (host and port).
    """

    relay: Path
    front: Path
    lane: Path
    keys: Path
    socket: Path
    refresh: Path
    ci: Path
    relay_host: str = "relay"
    issuer_host: str = "issuer"
    keys_address: tuple[str, int] = ("ci", 8444)
    front_owner: int | None = None
    lane_owner: int | None = None
    refresh_owner: int | None = None

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.relay, self.front, self.lane, self.keys, self.socket, self.refresh, self.ci)

    def owner_of(self, folder: Path, owner: int | None) -> int | None:
        """Owner of a folder of the trial; ``owner`` of those that no process of the issuer has."""
        owners = {
            self.front: self.front_owner,
            self.lane: self.lane_owner,
            self.socket: self.lane_owner,
            self.keys: self.refresh_owner,
            self.refresh: self.refresh_owner,
        }
        return owners.get(folder, owner)

    def write_issuer(self, tenants_dir: Path, client: Path) -> PublicKey:
        """Make token, key and file of the issuer; return its public key. The lane alone reads the token."""
        token = make_token(self.lane / "token", ISSUER_TOKEN, sessions=1)
        state = self.lane / "state"
        created = TokenAdmin(ISSUER_TOKEN, token, state).create(KeyKind.P256, ISSUER_KEY_LABEL)
        key = PublicKey.from_spki(created.public_key)
        shutil.copy(write_authority_and_server(self.front, host=self.issuer_host), client / "issuer-ca.pem")
        lines = {
            "state_dir": str(state),
            "keys_dir": str(self.keys),
            "tenants_dir": str(tenants_dir),
            "socket": str(self.socket / "lane.sock"),
            "refresh_socket": str(self.refresh / "refresh.sock"),
        }
        host, port = self.keys_address
        shutil.copy(write_authority_and_server(self.ci, host=host), self.front / "ci-ca.pem")
        uid = "" if self.front_owner is None else f"\nfront_uid = {self.front_owner}"
        text = issuer_file(
            token=token,
            public_key=key,
            issuer="\n".join(f"{name} = {json.dumps(value)}" for name, value in lines.items()) + uid,
            http='host = "0.0.0.0"',
            metrics='host = "0.0.0.0"\nport = 9466',
            provider=f'jwks_url = "https://{host}:{port}{KEYS_PATH}"\nca_file = "ci-ca.pem"',
        )
        (self.front / "issuer.toml").write_text(text, "utf-8")
        return key

    def write_relay(
        self, authority: Path, client: Path, *, tenants: Sequence[str], redis: tuple[str, int]
    ) -> None:
        """Write the relay's file; the passwords are those of the tenants' own users of Redis.

        ``authority``: certificate of Redis' authority; ``redis``: host and port.
        """
        shutil.copy(write_authority_and_server(self.relay, host=self.relay_host), client / "relay-ca.pem")
        shutil.copy(authority, self.relay / "redis-ca.pem")
        tables = []
        for tenant in tenants:
            password = (client / tenant / "redis.password").read_text("utf-8")
            write_private(self.relay / f"{tenant}.password", password)
            tables.append(
                f"""\
[tenants.{tenant}.redis]
host = "{redis[0]}"
port = {redis[1]}
username = "tenant-{tenant}"
password_file = "{tenant}.password"
tls = {{ ca_file = "redis-ca.pem" }}
"""
            )
        head = f"""\
audience = "{AUDIENCE}"

[tls]
certificate_file = "server.pem"
private_key_file = "server.key"

[metrics]
host = "0.0.0.0"

"""
        (self.relay / "relay.toml").write_text(head + "\n".join(tables), "utf-8")

    def write_client(self, client: Path, tenant: DevTenant, service_key: PublicKey) -> None:
        """Write the file of a build that has a token alone, which the trial's provider of tokens writes beside it."""
        folder = client / tenant.name / "by-token"
        folder.mkdir(mode=0o700)
        relay = f'url = "https://{self.relay_host}:8443"\nca_file = "../../relay-ca.pem"'
        issuer = f'issuer = {{ url = "https://{self.issuer_host}:8443", ca_file = "../../issuer-ca.pem" }}'
        text = token_client(tenant, service_key, relay=relay, issuer=issuer)
        (folder / "client.toml").write_text(text, "utf-8")
