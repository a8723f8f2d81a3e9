"""Scripts that are wrong on purpose: the checker must find each, or it proves nothing.

Each changes the shipped text in one place; where that text has changed meanwhile, the test says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from queueing.redis.scripts import Script


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenScript:
    """``before`` is replaced by ``after``; ``found_as``: a rule of the checker that this must break."""

    script: Script
    before: str
    after: str
    found_as: frozenset[str]

    def text(self, shipped: str) -> str:
        """The broken script."""
        if self.before not in shipped:
            raise LookupError(f"{self.script} has changed: it no longer says {self.before!r}")
        return shipped.replace(self.before, self.after)


BROKEN = {
    "commit-without-fence": BrokenScript(
        script=Script.COMMIT,
        before="local ours = holder == lease\n",
        after="local ours = true\n",
        found_as=frozenset({"I3 stale commit accepted", "I3 committed twice"}),
    ),
    "commit-leaves-the-job": BrokenScript(
        script=Script.COMMIT,
        before="redis.call('DEL', 'arq:job:' .. id, lease_key, 'arq:retry:' .. id)\n"
        "    redis.pcall('ZREM', KEYS[1], id)",
        after="redis.call('DEL', lease_key)\n   ",
        found_as=frozenset({"I3 claimed after its end"}),
    ),
    "claim-of-leased-jobs": BrokenScript(
        script=Script.CLAIM,
        before="redis.call('ZADD', KEYS[1], 'XX', lease_end_ms, id)\n",
        after="redis.call('DEL', 'arq:in-progress:' .. id)\n",
        found_as=frozenset({"I3 two owners at once"}),
    ),
    "release-keeps-the-lease": BrokenScript(
        script=Script.NACK,
        before="redis.call('DEL', lease_key)\n    redis.call('ZADD', KEYS[1], 'XX', delay_ms > 0 and later_ms or due_ms, id)\n",
        after="",
        found_as=frozenset({"I5 slow recovery"}),
    ),
    "claim-takes-the-job-out": BrokenScript(
        script=Script.CLAIM,
        before="redis.call('ZADD', KEYS[1], 'XX', lease_end_ms, id)\n",
        after="redis.call('ZREM', KEYS[1], id)\n",
        found_as=frozenset({"I1 accepted job lost", "I1 accepted job failed"}),
    ),
    "commit-forgets-the-result": BrokenScript(
        script=Script.COMMIT,
        before="redis.call('SET', result_key, result, 'PX', retention_ms)\n",
        after="",
        found_as=frozenset({"I1 left over"}),
    ),
}
