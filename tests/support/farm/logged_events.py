"""One event of each kind, as a worker or a command writes it into the write-ahead log."""

from __future__ import annotations

from workers.journal.event_records import (
    ConfigurationRecord,
    DirectoryRecord,
    EventRecord,
    KeyOperations,
    KeyRecord,
    LaneEndedRecord,
    LaneOperationsRecord,
    LaneStartedRecord,
    LoginRecord,
    RefusedRecord,
    StopOrderRecord,
    UnauthenticatedRecord,
)

LANE = bytes(range(16))
HASH = bytes(range(32))


def events_of(tenant: str) -> dict[str, EventRecord]:
    """By the kind of the entry that they become."""
    return {
        "login": LoginRecord(1, tenant, "hsm-1", "accepted"),
        "lane-started": LaneStartedRecord(2, tenant, LANE, "hsm-1", "0123", "SoftHSM", "lib 2.6", 4, "0.1.0"),
        "lane-operations": LaneOperationsRecord(3, tenant, LANE, (KeyOperations("release", 1, 7),)),
        "lane-ended": LaneEndedRecord(4, tenant, LANE, "hsm-1", "asked", 7, 0),
        "refused": RefusedRecord(5, tenant, b"job-of-a-secret", "build-1", "release", "ECDSA_SHA_256", 2, "key.unknown"),
        "unauthenticated": UnauthenticatedRecord(6, tenant, {"envelope.signature": 20}),
        "directory": DirectoryRecord(7, tenant, "service", HASH, 3, 99, HASH),
        "config": ConfigurationRecord(8, tenant, 3, HASH, ("keys.release.clients",)),
        "order": StopOrderRecord(9, tenant, LANE, "anna", "key", "release", "stolen laptop"),
        "key": KeyRecord(10, tenant, "rotated", "release", 2, HASH, HASH, ("anna", "ben"), "root", ()),
    }  # fmt: skip
