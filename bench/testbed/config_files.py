"""The configuration files of a testbed: what the private stack writes, and the settings a benchmark varies."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from bench.hsm.keyring import KeptFile
from bench.hsm.simhsm import SimHsm
from bench.native.build import build_simhsm
from queueing.protocol.algorithms import DEFAULT_FOR_KEY, Algorithm, KeyKind
from queueing.protocol.client_keys import ClientKey
from workers.config.tenant_edits import NewVersion, add_version
from workers.dev.config_files import RedisAddress, service_file, write_client
from workers.dev.tenants import CLIENT, KEY, SERVICE_TOKEN, DevTenant


@dataclass(frozen=True, slots=True, kw_only=True)
class SimTimes:
    """A simulated network HSM: microseconds per call. Its answers are canned, or with ``repeats`` real and remembered."""

    sign_us: int
    signinit_us: int = 0
    length_us: int = 0
    repeats: bool = False


CANARY_S_OF_CANNED: Final = 3600
"""Longer than any row: a canary would find that canned answers are no signatures, and end the lane."""

SHARED_OPERATIONS: Final = 16
"""What tenants that share an HSM may have under way on it together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchTenant:
    """A tenant with one key. ``sessions`` and ``lanes`` None: Sigmill's own choice. ``absent``: configured and published, but without a token."""

    name: str
    kind: KeyKind
    verify_after_sign: bool = True
    sessions: int | None = None
    lanes: int | None = None
    simulated: SimTimes | None = None
    shares_hsm: bool = False
    absent: bool = False

    @property
    def algorithm(self) -> Algorithm:
        """Algorithm and envelope size that the tenant's clients ask for."""
        return DEFAULT_FOR_KEY[self.kind]


def service_text(
    redis: RedisAddress,
    service: KeptFile,
    tenants: Sequence[tuple[BenchTenant, KeptFile]],
    *,
    metrics_port: int,
    state_dir: str,
) -> str:
    """``sigmill.toml``; each tenant's token has the tenant's name."""
    head = service_file(
        redis=redis,
        tokens={SERVICE_TOKEN: service.token},
        service_key=service.public_key,
        metrics_port=metrics_port,
        state_dir=state_dir,
    )
    shared = any(tenant.shares_hsm for tenant, _ in tenants)
    hsm = f"[hsms.shared]\nparallel_operations = {SHARED_OPERATIONS}\n" if shared else ""
    worker = worker_table([tenant for tenant, _ in tenants])
    return "\n".join([head, hsm, worker, *(_token_table(tenant, held) for tenant, held in tenants)])


def worker_table(tenants: Sequence[BenchTenant]) -> str:
    """``[worker]``: canaries an hour apart where a device's answers are canned, else nothing."""
    canned = any(tenant.simulated is not None and not tenant.simulated.repeats for tenant in tenants)
    return f"[worker]\ncanary_s = {CANARY_S_OF_CANNED}\n" if canned else ""


def tenant_text(tenant: BenchTenant, held: KeptFile, client: ClientKey) -> str:
    """The tenant's file."""
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    head = f"""\
tenant = "{tenant.name}"

[clients.{CLIENT}]
public_key = "{base64.b64encode(client.public_spki).decode()}"
expires = {expires.isoformat().replace("+00:00", "Z")}
"""
    version = NewVersion(
        key=KEY,
        version=1,
        state="active",
        public_key=held.public_key,
        tokens=(tenant.name,),
        algorithms=(tenant.algorithm,),
        profile="internal",  # RSA-2048 is measured too
    )
    return add_version(head, version)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientFiles:
    """Two configurations of one client: as a user has it, and without the client's own verification."""

    verifying: Path
    trusting: Path


def write_clients(
    folder: Path, tenant: BenchTenant, key: ClientKey, redis: RedisAddress, service: KeptFile
) -> ClientFiles:
    """Write both."""
    named = DevTenant(name=tenant.name, kind=tenant.kind)
    verifying = write_client(folder, named, key, redis, service.public_key)
    trusting = folder / "trusting.toml"
    trusting.write_text("verify_signatures = false\n" + verifying.read_text("utf-8"), "utf-8")
    return ClientFiles(verifying=verifying, trusting=trusting)


def _token_table(tenant: BenchTenant, held: KeptFile) -> str:
    module, environment = held.token.module, dict(held.token.environment)
    if tenant.simulated is not None:
        times = tenant.simulated
        simulated = SimHsm(
            real_module=Path(module),
            sign_us=times.sign_us,
            signinit_us=times.signinit_us,
            length_us=times.length_us,
            canned=not times.repeats,
            repeats=times.repeats,
        )
        module, environment = str(build_simhsm()), environment | simulated.environment()
    variables = ", ".join(f"{name} = {json.dumps(value)}" for name, value in environment.items())
    chosen = {"sessions": tenant.sessions, "lanes": tenant.lanes}
    lines = [
        f"[tokens.{tenant.name}]",
        f"module = {json.dumps(module)}",
        f"select = {{ label = {json.dumps(held.token.select.label)} }}",
        f"login = {{ pin_file = {json.dumps(str(held.pin_file))} }}",
        f"environment = {{ {variables} }}",
        f"verify_after_sign = {json.dumps(tenant.verify_after_sign)}",
        *(['hsm = "shared"'] if tenant.shares_hsm else []),
        *(f"{name} = {value}" for name, value in chosen.items() if value is not None),
    ]
    return "\n".join(lines) + "\n"
