"""Tables of the configuration files as structs. Paths are relative to their file; secrets are files of their own."""

from __future__ import annotations

from datetime import datetime, time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from queueing.config.addresses import bare_host, with_port
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.key_directory import LARGEST_EPOCH, KeyState
from queueing.protocol.names import Name
from workers.config.issuers.tables import IdentitySettings

Seconds = Annotated[float, Meta(gt=0, le=30 * 86400)]

Epoch = Annotated[int, Meta(ge=0, le=LARGEST_EPOCH)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables: frozen, keyword-only, unknown keys refused."""


class ServiceSettings(_Strict, frozen=True):
    """``[service]``. ``audience`` names cluster and region; ``epoch`` must never decrease."""

    audience: Annotated[str, Meta(min_length=1, max_length=128)]
    state_dir: str
    tenants_dir: str = "tenants"
    epoch: Epoch = 0


class ServiceKeySettings(_Strict, frozen=True):
    """``[service_key]``: the key that signs key directories, in a separate token."""

    token: Name
    public_key: str


class SelectSettings(_Strict, frozen=True):
    """Selects one token of the module: exactly one token must match all given properties."""

    slot: Annotated[int, Meta(ge=0, le=2**62)] | None = None
    label: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    serial: Annotated[str, Meta(min_length=1, max_length=16)] | None = None

    @property
    def slot_alone(self) -> bool:
        """Whether nothing but the slot's number is given."""
        return self.label is None and self.serial is None


class PinLogin(_Strict, frozen=True):
    """Log in with the PIN in this file (one line, mode 0600 or stricter); ``$CREDENTIALS_DIRECTORY/NAME`` is a systemd credential."""

    pin_file: str


class TokenSettings(_Strict, frozen=True):
    """``[tokens.NAME]``. ``sessions`` and ``lanes`` are per host; without ``lanes`` the worker chooses their number.

    ``environment`` is set for this token's lanes only. ``call_timeout_s`` must exceed the module's own timeout.
    ``login_timeout_s`` limits the login, also at a keypad; after it the token is not tried again for as long.
    ``certification``: CMVP or Common Criteria number for origin statements; ``evidence``: the vendor's command for them.
    ``hsm``: the device that the token shares with others. ``socket``: the socket of a host-started lane (``sigmill lane``), which accepts connections from ``worker_uid`` only.
    """

    module: str
    select: SelectSettings
    login: PinLogin | Literal["none", "protected-path"]
    environment: dict[Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")], str] = {}
    sessions: Annotated[int, Meta(ge=1, le=1024)] = 4
    lanes: Annotated[int, Meta(ge=1, le=64)] | None = None
    call_timeout_s: Seconds = 10.0
    login_timeout_s: Seconds = 60.0
    verify_after_sign: bool = True
    socket: str | None = None
    worker_uid: Annotated[int, Meta(ge=0, le=2**32 - 2)] | None = None
    hsm: Name | None = None
    certification: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    evidence: tuple[Annotated[str, Meta(min_length=1, max_length=4096)], ...] = ()


class HsmSettings(_Strict, frozen=True):
    """``[hsms.NAME]``: one device shared by several tokens; maximum number of parallel operations from this host."""

    parallel_operations: Annotated[int, Meta(ge=1, le=4096)]


class OperatorSettings(_Strict, frozen=True):
    """``[operators.NAME]``: SPKI in base64 (Ed25519 or ECDSA P-256) of an operator who may sign stop orders."""

    public_key: str


class WorkerSettings(_Strict, frozen=True):
    """``[worker]``: one worker process on this host."""

    lease_s: Annotated[float, Meta(ge=2, le=300)] = 15.0
    result_retention_s: Annotated[float, Meta(ge=1, le=30 * 86400)] = 3600.0
    claim_jobs: Annotated[int, Meta(ge=1, le=1024)] = 256
    slow_poll_s: Seconds = 1.0
    lane_idle_s: Seconds = 300.0
    drain_s: Seconds = 20.0
    chunk_target_s: Annotated[float, Meta(gt=0, le=10)] = 0.1
    poison_attempts: Annotated[int, Meta(ge=1, le=100)] = 3
    directory_ttl_s: Annotated[float, Meta(ge=60, le=30 * 86400)] = 7 * 86400.0
    canary_s: Annotated[float, Meta(ge=2, le=3600)] = 60.0


class LogSettings(_Strict, frozen=True):
    """``[log]``: the write-ahead log. ``keep_days``: age at which segments are removed; two years and a month.

    ``tenant_share``: most that a tenant's records of one day of UTC may take of the space that is free without them.
    """

    keep_days: Annotated[float, Meta(ge=0.0001, le=36525)] = 762.0
    tenant_share: Annotated[float, Meta(ge=0.01, le=0.99)] = 0.5


class RecordSettings(_Strict, frozen=True):
    """``[record]``: per tenant, a tamper-evident log made from the write-ahead log. ``name``: of the logs; ``sigmill/AUDIENCE``.

    ``process``: the sealer is a child of the worker, or its ``own`` (``sigmill sealer``, started by the host). ``retain_days``: how
    long entries are kept, from their time or from the end of their key's certificate; two years and a month. ``wal_days``:
    age at which segments of the write-ahead log that are sealed are removed.
    """

    enabled: bool = False
    name: Annotated[str, Meta(pattern=r"^[!-*,-~]{1,200}\Z")] | None = None
    process: Literal["child", "own"] = "child"
    retain_days: Annotated[float, Meta(ge=730, le=36525)] = 762.0
    wal_days: Annotated[float, Meta(ge=1, le=36525)] = 14.0


class LoggingSettings(_Strict, frozen=True):
    """``[logging]``: logs of worker and exporter on stderr. ``jobs``: also log claimed and released jobs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    jobs: bool = False


class _Served(_Strict, frozen=True):
    """Address of an HTTP server."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 0

    def __post_init__(self) -> None:
        """Remove the brackets of an IPv6 address."""
        force_setattr(self, "host", bare_host(self.host))

    @property
    def address(self) -> str:
        """``host:port``, as in a URL."""
        return with_port(self.host, self.port)


class MetricsSettings(_Served, frozen=True):
    """``[metrics]``: address of ``/metrics``, ``/healthz`` and ``/readyz``; port 0 is any free port."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 9464


class ExporterSettings(_Served, frozen=True):
    """``[exporter]``: address of ``sigmill exporter``, and the interval at which it reads the queues."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 9465
    interval_s: Annotated[float, Meta(ge=0.1, le=300)] = 5.0


class ClientSettings(_Strict, frozen=True):
    """``[clients.NAME]`` of a tenant: SPKI in base64 (Ed25519 or ECDSA P-256)."""

    public_key: str
    expires: datetime
    state: Literal["active", "revoked"] = "active"


class KeyVersionSettings(_Strict, frozen=True):
    """``[[keys.NAME.versions]]``: SPKI in base64, its SHA-256 in hex, and the tokens that hold the key.

    ``active_from``: a ``next`` version signs from then on; ``verify_only_from``: it no longer does. ``certificates``: PEM files,
    leaf first; ``chains``: chains of further authorities by name. ``created``: when the token made the key.
    """

    version: Annotated[int, Meta(ge=1, le=2**31)]
    state: KeyState
    public_key: str
    public_key_sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    tokens: Annotated[tuple[Name, ...], Meta(min_length=1)]
    expires: datetime | None = None
    created: datetime | None = None
    active_from: datetime | None = None
    verify_only_from: datetime | None = None
    certificates: tuple[str, ...] = ()
    chains: dict[Name, str] = {}


class WindowSettings(_Strict, frozen=True, rename={"start": "from", "end": "until"}):
    """One of a key's ``windows``: days, and times of day in ``zone``; without ``until`` it lasts until the end of the day.

    An ``until`` before ``from`` is on the day after. ``zone``: a name of the IANA time zone database.
    """

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Meta(min_length=1)] = (
        "mon", "tue", "wed", "thu", "fri", "sat", "sun",
    )  # fmt: skip
    start: time = time(0)
    end: time | None = None
    zone: Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}\Z")] = "UTC"


class BudgetSettings(_Strict, frozen=True):
    """A key's ``budget``: digests per hour or day of UTC, over all workers."""

    digests: Annotated[int, Meta(ge=1, le=2**53)]
    per: Literal["hour", "day"] = "day"


class KeySettings(_Strict, frozen=True):
    """``[keys.NAME]``. ``clients`` may use the key; ``*`` is every client of the tenant, an empty list none. ``issuers`` may grant it.

    ``code-signing`` refuses RSA below 3072 bits (CSBR 6.1.5). ``default_algorithm`` defaults to that of the key kind.
    """

    versions: Annotated[tuple[KeyVersionSettings, ...], Meta(min_length=1)]
    algorithms: Annotated[tuple[Algorithm, ...], Meta(min_length=1)]
    clients: tuple[str, ...]
    issuers: tuple[str, ...] = ()
    identities: tuple[IdentitySettings, ...] = ()
    default_algorithm: Algorithm | None = None
    windows: tuple[WindowSettings, ...] = ()
    budget: BudgetSettings | None = None
    profile: Literal["code-signing", "internal"] = "code-signing"
    canary: bool = False


class LimitsSettings(_Strict, frozen=True):
    """``[limits]`` of a tenant, over all workers. Rate and burst in units: 1 is an RSA-2048 signature (``queueing.protocol.signing_costs``).

    ``burst`` defaults to one second of the rate; ``digests_per_day`` is per UTC day. ``backlog_*`` cap the digests and
    bytes that are ready or in flight. ``weight``: the tenant's share while other tenants have work, too.
    """

    rate_per_s: Annotated[float, Meta(ge=0.001, le=1e9)] | None = None
    burst: Annotated[float, Meta(gt=0, le=1e12)] | None = None
    digests_per_day: Annotated[int, Meta(ge=1, le=2**50)] | None = None
    backlog_digests: Annotated[int, Meta(ge=1, le=2**50)] = 2_000_000
    backlog_bytes: Annotated[int, Meta(ge=1, le=2**50)] = 512 * 1024 * 1024
    weight: Annotated[float, Meta(ge=0.01, le=100)] = 1.0


OrderId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


TenantClass = Literal["interactive", "standard", "bulk"]
"""Service level objectives of a tenant (``ops/generate/prometheus/objectives.py``); the closed set of the label ``class``."""


class TenantSettings(_Strict, frozen=True, rename={"tenant_class": "class"}):
    """Top of a tenant file. ``max_envelope_age_s`` is the maximum age of an envelope, 24 h at most.

    ``class``: the tenant's service level objectives. ``lifted_orders``: ids of operators' stop orders that are void
    from this epoch on.
    """

    tenant: Name
    epoch: Epoch = 0
    state: Literal["active", "suspended"] = "active"
    tenant_class: TenantClass = "standard"
    max_envelope_age_s: Annotated[float, Meta(ge=60, le=86400)] = 86400.0
    lifted_orders: tuple[OrderId, ...] = ()
