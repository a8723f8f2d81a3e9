"""Rules of Redis users, as far as they can be judged without a Redis."""

from __future__ import annotations

from typing import Final

from queueing.protocol import keyspace
from queueing.redis.acl import tenant_rules
from queueing.redis.scripts import Script, digest_of

_SUBMIT: Final = "44fd9abb82e8c1ea9f80bdb878408b5e22e889bf"


def test_the_script_that_tenants_may_run_is_the_recorded_one() -> None:
    """A changed submit script locks out every tenant until an operator has run `sigmill tenants acl`.

    So a new digest here needs a line in CHANGELOG.md that tells operators to run it.
    """
    assert [rule for rule in tenant_rules("acme", None) if rule.startswith("+evalsha")] == [
        f"+evalsha|{_SUBMIT}",
        f"+evalsha|{digest_of(Script.CANCEL)}",
    ]


def test_a_tenants_user_only_reads_what_the_workers_decide() -> None:
    """Its directory, caps, limiter, leases and receipts; it has no right to fences and dead letters at all."""
    rules = tenant_rules("acme", None)
    keys = [rule for rule in rules if "~" in rule]
    writable = {rule.removeprefix("~") for rule in keys if rule.startswith("~")}
    readable = {rule.removeprefix("%R~") for rule in keys if rule.startswith("%R~")}
    assert len(writable | readable) == len(keys), "each is one of the two"
    decided = {
        keyspace.directory("acme"),
        keyspace.caps("acme"),
        keyspace.limiter("acme"),
        keyspace.hindrance("acme"),
        f"{keyspace.IN_PROGRESS_PREFIX}{{acme}}*",
        f"{keyspace.RECEIPT_PREFIX}{{acme}}*",
    }
    assert readable == decided
    assert not writable & {*decided, keyspace.fence("acme"), keyspace.dead_letters("acme")}
    assert all("{acme}" in rule for rule in keys)
