"""Redis that answers and refuses every claim: the worker is not ready, logs the reason once, and is ready
again afterwards.
"""

from __future__ import annotations

import pytest

from tests.support.rig.operator import make_user
from tests.support.rig.rig import MakeRig
from tests.support.waiting import until


@pytest.mark.parametrize(
    "taken, given, reason",
    [
        (("-evalsha", "-eval"), ("+evalsha", "+eval"), "NoPermissionError"),
        (("resetkeys",), ("~*",), "NoPermissionError"),
    ],
)
def test_a_user_without_the_rights_to_claim_is_not_ready(
    make_rig: MakeRig, taken: tuple[str, ...], given: tuple[str, ...], reason: str
) -> None:
    """Scripts or keys taken away while the worker is connected, as an ACL LOAD of an old file does."""
    rig = make_rig()
    rig.config(1)
    rig.redis_user = user = make_user(rig, "--worker")
    worker = rig.start_worker()
    assert user.username is not None
    rig.redis.command("ACL", "SETUSER", user.username, *taken)
    until(lambda: not worker.ready, "it is not ready")
    assert worker.get("/healthz")[0] == 200
    until(lambda: worker.events("claim.refused") == 1, "the reason is logged")
    assert reason in worker.log()
    rig.redis.command("ACL", "SETUSER", user.username, *given)
    until(lambda: worker.ready, "it is ready again")
    assert worker.events("claim.refused") == 1


def test_a_redis_without_memory_or_that_became_a_replica_makes_it_unready(make_rig: MakeRig) -> None:
    """Every claim is refused with OOM or READONLY; commands that do not write are answered."""
    rig = make_rig()
    worker = rig.start_worker()
    rig.redis.command("CONFIG", "SET", "maxmemory", "1")
    until(lambda: not worker.ready, "it is not ready without memory")
    until(lambda: "OutOfMemoryError" in worker.log(), "the reason is logged")
    rig.redis.command("CONFIG", "SET", "maxmemory", "0")
    until(lambda: worker.ready, "it is ready again")
    rig.redis.command("REPLICAOF", "127.0.0.1", "1")
    until(lambda: not worker.ready, "it is not ready with a replica")
    until(lambda: "ReadOnlyError" in worker.log(), "the reason is logged")
    rig.redis.command("REPLICAOF", "NO", "ONE")
    until(lambda: worker.ready, "it is ready with the primary")
