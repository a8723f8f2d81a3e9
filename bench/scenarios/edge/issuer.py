"""Grants of one issuer with a P-256 key: front, lane and token; each grant has a TLS connection and a token of its own.

Builds ask in parallel, then one after the other; then bad tokens of the kinds that cost most. Tokens, keys and proofs are made before
the clock runs; the builds' side of TLS is within it, on the same cores.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.measurement.machine import load_average
from bench.measurement.procfs import all_processes, tree
from bench.report.data import at_least, at_most
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.grants.grant_request import PATH, encode_json, make_request
from queueing.protocol.public_keys import PublicKey, placeholder_key
from workers.dev.config_files import tenant_text
from workers.dev.issuer_process import IssuerProcess
from workers.dev.softhsm import make_token
from workers.dev.tenants import AUDIENCE, ISSUER_KEY_LABEL, ISSUER_TOKEN, TENANTS
from workers.dev.token_provider import TokenProvider
from workers.dev.worker_process import free_ports
from workers.token_admin.client import TokenAdmin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.session import Session

LEAST_PER_S: Final = 50.0
"""Grants of 15 minutes for 45,000 builds."""

MOST_CPU_MS: Final = 6.0
"""Of front and lane; 3 ms were measured: the TLS handshake, aiohttp in Python, two verifications and the grant's signature."""

MOST_BAD_CPU_MS: Final = MOST_CPU_MS
"""Of the slowest bad token: no kind costs more than a good one, for which the lane signs."""

PARALLEL: Final = 16
_ONE_BY_ONE: Final = 50
_BAD_EACH: Final = 100
"""Requests for each kind of bad token: CPU times have steps of 10 ms."""

_FIRST_USE: Final = ""
"""Name of the request that is granted, so that another key is refused for the same token."""

_LONG: Final = 11_500
"""Characters of a claim that make a token as long as the issuer reads: base64 adds a third."""

_RAW_BYTES: Final = 32
"""Of an Ed25519 key, at the end of its SPKI (RFC 8410, section 4)."""

_TENANT: Final = TENANTS[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """Grants per second in parallel with the CPU of each, and the time of one alone."""

    per_s: float
    cpu_ms: float
    p50_ms: float


def issuer(session: Session) -> None:
    """Grants per second at sixteen builds, CPU of front and lane for each, and the time of one at idle."""
    folder = session.directory / "issuer"
    logs = folder / "logs"
    (folder / "tenants").mkdir(parents=True)
    logs.mkdir()
    token = make_token(folder / "token", ISSUER_TOKEN, sessions=1)
    admin = TokenAdmin(ISSUER_TOKEN, token, folder / "admin")
    public_key = PublicKey.from_spki(admin.create(KeyKind.P256, ISSUER_KEY_LABEL).public_key)
    text = tenant_text(_TENANT, placeholder_key(_TENANT.kind), ClientKey.generate(), public_key)
    (folder / "tenants" / f"{_TENANT.name}.toml").write_text(text, "utf-8")
    ports = free_ports(2)
    process = IssuerProcess(
        folder / "files",
        token=token,
        public_key=public_key,
        ports=(ports[0], ports[1]),
        tenants_dir=folder / "tenants",
        logs=logs,
    )
    try:
        provider = TokenProvider(process.keys_dir, {})
        provider.refresh()
        process.wait_until_ready()
        count = 2000 if session.pace.wide else 500
        _report(session, asyncio.run(_measure(process, _requests(provider, count + 2 * _ONE_BY_ONE))))
        _report_bad(session, asyncio.run(_measure_bad(process, _bad_requests(provider))))
        process.check()
    finally:
        process.stop()


def _requests(provider: TokenProvider, count: int) -> list[bytes]:
    """Bodies of so many builds, each with its own token and ephemeral key."""
    return [_request(provider.token(_TENANT.name, time.time())) for _ in range(count)]


def _request(token: str) -> bytes:
    """Body of a build with a new key."""
    key = ClientKey.generate()
    return encode_json(
        make_request(
            token=token,
            public_key=key.public_spki[-_RAW_BYTES:],
            signer=key,
            audience=AUDIENCE,
            tenant=_TENANT.name,
            keys=(),
        )
    )


def _bad_requests(provider: TokenProvider) -> dict[str, bytes]:
    """Bodies with bad tokens of the kinds that cost most, of each stage at which a token is refused."""
    claims = provider.claims(_TENANT.name, time.time())
    good = provider.token(_TENANT.name, time.time())
    long = json.dumps({**claims, "padding": "x" * _LONG}).encode()
    brackets = b'{"iss": %s, "a": %s}' % (json.dumps(claims["iss"]).encode(), b"[" * 5000 + b"]" * 5000)
    digits = b'{"iss": %s, "a": %s}' % (json.dumps(claims["iss"]).encode(), b"9" * 10_000)
    tokens = {
        "no JWT": "x" * 16_000,
        "5,000 brackets": provider.signed(brackets),
        "a number of 10,000 digits": provider.signed(digits),
        "a thousand values": provider.signed(json.dumps({**claims, "a": list(range(1000))}).encode()),
        "500 values, and no rule": provider.signed(
            json.dumps({**claims, "ref": "x", "a": list(range(480))}).encode()
        ),
        "alg none": provider.signed(long, alg="none"),
        "a jku header": provider.signed(long, jku="https://evil.invalid/keys"),
        "a long one, and a false signature": provider.signed(long)[:-8] + "AAAAAAAA",
        "a long one, and no rule": provider.signed(long.replace(b"refs/heads/main", b"refs/heads/Main")),
        "another audience": provider.signed(json.dumps({**claims, "aud": "https://x.invalid"}).encode()),
        "ended": provider.signed(json.dumps({**claims, "iat": 1, "exp": 2}).encode()),
        "used with another key": good,
    }
    return {name: _request(token) for name, token in tokens.items()} | {_FIRST_USE: _request(good)}


async def _measure(process: IssuerProcess, bodies: list[bytes]) -> _Measured:
    builds = _Builds(process)
    await builds.ask_each(bodies[:_ONE_BY_ONE])  # the first answers read the files
    one_by_one = await builds.ask_each(bodies[_ONE_BY_ONE : 2 * _ONE_BY_ONE])
    rest = bodies[2 * _ONE_BY_ONE :]
    before_s, began_s = _cpu_s(process), time.monotonic()
    await asyncio.gather(*(builds.ask_each(rest[first::PARALLEL]) for first in range(PARALLEL)))
    took_s, used_s = time.monotonic() - began_s, _cpu_s(process) - before_s
    return _Measured(
        per_s=len(rest) / took_s, cpu_ms=1e3 * used_s / len(rest), p50_ms=1e3 * statistics.median(one_by_one)
    )


def _report(session: Session, measured: _Measured) -> None:
    note = (
        f"{measured.per_s:,.0f} grants/s to {PARALLEL} builds at once, {measured.cpu_ms:.1f} ms of CPU each;"
        f" one alone p50 {measured.p50_ms:.1f} ms; {load_average()}"
    )
    name = "issuer: grants of one issuer"
    session.threshold(at_least(name, measured.per_s, LEAST_PER_S, unit="1/s", note=note))
    name = "issuer: CPU of front and lane for a grant"
    session.threshold(at_most(name, measured.cpu_ms, MOST_CPU_MS, unit="ms", note=note))
    session.say(f"  {note}")


async def _measure_bad(process: IssuerProcess, bodies: dict[str, bytes]) -> dict[str, float]:
    """CPU of front and lane in ms for a request of each kind."""
    builds = _Builds(process)
    await builds.ask_each([bodies.pop(_FIRST_USE)])
    found = {}
    for name, body in bodies.items():
        before_s = _cpu_s(process)
        await builds.have_refused([body] * _BAD_EACH)
        found[name] = 1e3 * (_cpu_s(process) - before_s) / _BAD_EACH
    return found


def _report_bad(session: Session, cpu_ms: dict[str, float]) -> None:
    slowest = max(cpu_ms, key=lambda name: cpu_ms[name])
    note = f"of {len(cpu_ms)} kinds `{slowest}`; all: " + ", ".join(
        f"{n} {ms:.1f}" for n, ms in cpu_ms.items()
    )
    name = "issuer: CPU of front and lane for the slowest bad token"
    session.threshold(at_most(name, cpu_ms[slowest], MOST_BAD_CPU_MS, unit="ms", note=note))
    session.say(f"  slowest bad token: `{slowest}`, {cpu_ms[slowest]:.1f} ms of CPU")


class _Builds:
    """Builds that trust the issuer's authority."""

    def __init__(self, process: IssuerProcess) -> None:
        self._tls = ssl.create_default_context(cafile=str(process.ca_file))
        self._port = int(process.url.rpartition(":")[2])

    async def ask_each(self, bodies: Sequence[bytes]) -> list[float]:
        """Ask with each body in turn; the seconds of each. Raises ``RuntimeError`` for a refusal."""
        times_s = []
        for body in bodies:
            began_s = time.monotonic()
            answer = await self._ask(body)
            if b" 200 " not in answer.partition(b"\r\n")[0]:
                raise RuntimeError(f"the issuer refused: {answer[-500:]!r}")
            times_s.append(time.monotonic() - began_s)
        return times_s

    async def have_refused(self, bodies: Sequence[bytes]) -> None:
        """Ask with each body in turn. Raises ``RuntimeError`` for another answer than a refusal."""
        for body in bodies:
            status = (await self._ask(body)).partition(b"\r\n")[0]
            if b" 403 " not in status and b" 400 " not in status:
                raise RuntimeError(f"the issuer answered a bad token: {status!r}")

    async def _ask(self, body: bytes) -> bytes:
        """The whole answer: the front ends each connection with it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        try:
            head = f"POST {PATH} HTTP/1.1\r\nHost: issuer\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()


def _cpu_s(process: IssuerProcess) -> float:
    """CPU time of the front and of the lane, its child."""
    found = all_processes()
    return sum(found[pid].cpu_s for pid in tree({process.pid}, found))
