"""A service whose key has no clients but an issuer, with a relay before its Redis: for builds that have nothing but a token."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from queueing.errors import SigningError
from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.envelope import read_unverified
from queueing.protocol.grants.grant import read_grant
from queueing.protocol.jobs import content_hash, decode_result
from tests.support.hsm.softhsm import SoftHsm
from tests.support.issuer.running import RunningIssuer
from tests.support.relay.relay_process import RelayProcess
from tests.support.rig.operator import edit
from workers.dev.tenants import AUDIENCE
from workers.journal.records import IntentRecord, OutcomeRecord, decode_record
from workers.journal.segments import read_segment, segments_of
from workers.lanes.signatories import GRANT_SKEW_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import TracebackType

    from queueing.protocol.grants.grant import Grant
    from tests.support.rig.rig import MakeRig

_IDENTITIES = """
[issuers.ci]
public_key = "{public_key}"
expires = 2099-01-01T00:00:00Z
max_digests = {most}

[[keys.release.identities]]
issuer_url = "{issuer_url}"
audience = "{audience}"
claims = {{ repository_id = "4711" }}
patterns = {{ ref = "refs/heads/*" }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """Intents of a write-ahead log that were not refused, and are permitted: how often each digest and each content, and the digests of each grant."""

    digests: Counter[bytes]
    contents: Counter[bytes]
    by_grant: Counter[bytes]


class GrantedService:
    """Issuer, worker, and a relay that is started when it is wanted. ``most``: digests of a grant."""

    def __init__(self, make_rig: MakeRig, folder: Path, *, most: int = 500, appendonly: bool = False) -> None:
        self.rig = make_rig(appendonly=appendonly)
        folder.mkdir()
        self.issuer = RunningIssuer(
            folder, SoftHsm(folder / "softhsm"), audience=AUDIENCE, tenants_dir=self.rig.directory / "tenants"
        )
        self.provider = self.issuer.provider
        self.tenant = self.rig.tenant_file("acme")
        edit(self.tenant, 'clients = ["*"]', 'clients = []\nissuers = ["ci"]')
        text = _IDENTITIES.format(
            public_key=self.issuer.site.public_key,
            issuer_url=self.provider.issuer_url,
            audience=self.provider.audience,
            most=most,
        )
        self.tenant.write_text(self.tenant.read_text() + text)
        place = self.rig.place
        self.relay = RelayProcess(
            folder=folder / "relay",
            audience=AUDIENCE,
            redis=f'unix_socket = "{place.socket}"\npassword_file = "{place.password_file}"',
        )
        self.worker = self.rig.start_worker()

    def __enter__(self) -> Self:
        self.issuer.__enter__()
        self.issuer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.relay.kill()
        self.issuer.__exit__(kind, error, trace)

    def client_file(self, token: str, *, by_relay: bool = False) -> Path:
        """``client.toml`` of a build that has nothing but this token, and neither a key nor Redis with a relay."""
        folder = self.rig.directory / "clients" / "acme"
        text = (folder / "client.toml").read_text()
        own = 'client = "build-1"\nprivate_key_file = "client.key"\n'
        assert own in text
        build = self.rig.directory / "build"
        build.mkdir(exist_ok=True)
        (build / "token").write_text(token)
        issuer = (
            f'{{ url = "https://127.0.0.1:{self.issuer.port}", ca_file = "{self.issuer.folder}/ca.pem" }}'
        )
        text = text.replace(own, f'identity = {{ from = "file", file = "token" }}\nissuer = {issuer}\n')
        if by_relay:
            before, _, _ = text.partition("[redis]")
            text = f'{before}url = "https://127.0.0.1:{self.relay.port}"\nca_file = "{self.relay.ca_file}"\n'
        file = build / "client.toml"
        file.write_text(text)
        return file

    def parts(self) -> tuple[Part, ...]:
        """The parts that a test kills: each may be started again, whatever was killed with it."""
        issuer, redis = self.issuer, self.rig.redis
        return (
            Part("relay", self.relay.kill, self.relay.start),
            Part("issuer's front", issuer.kill, issuer.start),
            Part("issuer's lane", issuer.kill_lane, issuer.wait_for_another_lane),
            Part("redis", redis.kill, redis.start),
        )

    def intents(self) -> Iterator[IntentRecord]:
        """Intents of the worker's log, in order, without those whose jobs were refused: of them nothing was signed."""
        segments = segments_of(self.rig.state_dir() / "wal")
        records = [decode_record(raw) for segment in segments for raw in read_segment(segment)]
        refused = {
            record.lease
            for record in records
            if isinstance(record, OutcomeRecord)
            and isinstance(decode_result(record.result).outcome, SigningError)
            and not record.dropped
        }
        for record in records:
            if isinstance(record, IntentRecord) and record.lease not in refused:
                yield record

    def permitted(self) -> Permitted:
        """Intents of the worker's log. Fails at one without permission: of no issuer's grant, above it, late, or of no holder of it."""
        issuer = ClientPublicKey.from_spki(self.issuer.site.spki)
        digests: Counter[bytes] = Counter()
        contents: Counter[bytes] = Counter()
        by_grant: Counter[bytes] = Counter()
        for record in self.intents():
            unverified = read_unverified(record.sealed)
            envelope = unverified.envelope
            assert envelope.grant is not None, "an intent of no grant"
            grant = read_grant(envelope.grant).verify(issuer)
            grant.holder().verify_envelope(unverified.signed_bytes, unverified.signature)
            assert _is_within(grant, envelope.key, envelope.algorithm, record.at_ms)
            content = content_hash(envelope)
            if not contents[content]:
                by_grant[grant.grant_id] += len(envelope.digests)
                assert by_grant[grant.grant_id] <= grant.max_digests, "more digests than the grant permits"
            contents[content] += 1
            digests.update(envelope.digests)
        return Permitted(digests=digests, contents=contents, by_grant=by_grant)


@dataclass(frozen=True, slots=True)
class Part:
    """A process that a test kills (SIGKILL) and starts again; ``start`` returns when it answers."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], object]


def _is_within(grant: Grant, key: str, algorithm: str, at_ms: int) -> bool:
    """Whether the grant permits a signature by this key at this time."""
    in_time = grant.not_before_ms - GRANT_SKEW_MS <= at_ms < grant.expires_ms + GRANT_SKEW_MS
    return in_time and key in grant.keys and algorithm in grant.algorithms
