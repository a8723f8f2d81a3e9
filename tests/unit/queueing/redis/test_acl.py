"""Rules of Redis users, as far as they can be judged without a Redis."""

from __future__ import annotations

from typing import Final

from queueing.redis.acl import tenant_rules
from queueing.redis.scripts import Script, digest_of

_SUBMIT: Final = "2a5c4486eaf38aea50a523d0248268ec4cc7145d"


def test_the_script_that_tenants_may_run_is_the_recorded_one() -> None:
    """A changed submit script locks out every tenant until an operator has run `sigmill tenants acl`.

    So a new digest here needs a line in CHANGELOG.md that tells operators to run it.
    """
    assert [rule for rule in tenant_rules("acme", None) if rule.startswith("+evalsha")] == [
        f"+evalsha|{_SUBMIT}",
        f"+evalsha|{digest_of(Script.CANCEL)}",
    ]
