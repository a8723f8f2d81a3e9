"""Every Redis key and channel by name, in one place.

arq's own keys keep arq's names. All keys of a tenant carry its hash tag ``{tenant}``, job ids included,
so one script touches one slot and one ACL pattern (``*{tenant}*``) covers a tenant.
"""

from __future__ import annotations

import re
from typing import Final

JOB_PREFIX: Final = "arq:job:"
IN_PROGRESS_PREFIX: Final = "arq:in-progress:"
RESULT_PREFIX: Final = "arq:result:"
RETRY_PREFIX: Final = "arq:retry:"
RECEIPT_PREFIX: Final = "sigmill:receipt:"

DOORBELL_PATTERN: Final = "sigmill:{*}:doorbell"
_DOORBELL = re.compile(rb"^sigmill:\{([^{}]+)\}:doorbell\Z")

REPLY_ID_PATTERN: Final = r"^[0-9a-f]{32}\Z"


ORDERS: Final = "sigmill:orders"
"""Hash: stop order id -> the signed order; without expiry."""

ORDERS_BELL: Final = "sigmill:orders:doorbell"
"""Channel: each new stop order, signed."""


WORKERS_SEEN: Final = "sigmill:{workers}:seen"
"""Sorted set: worker -> time of its last report (Unix ms of Redis' clock); see ``queueing.coordination.worker_registry``."""

WORKERS_FACTS: Final = "sigmill:{workers}:facts"
"""Hash: worker -> its report. In one slot with the other; no tenant of this name has such a key."""


REFUSED_PINS: Final = "sigmill:refused-pins"
"""Hash: token -> fingerprint of the PIN that it refused (``queueing.coordination.refused_pin_feed``); without expiry."""


def order_adopted(order_id: str) -> str:
    """Hash: worker -> when it adopted this stop order (Unix ms); for a day."""
    return f"sigmill:order:{order_id}:adopted"


def queue(tenant: str) -> str:
    """Sorted set: job id -> due time (Unix ms), or the end of its lease."""
    return f"sigmill:{{{tenant}}}:queue"


def fence(tenant: str) -> str:
    """String: the last fence given out, an integer that only grows."""
    return f"sigmill:{{{tenant}}}:fence"


def claims(tenant: str) -> str:
    """Hash: job id -> ``attempts:fence:digests:bytes:charge:crashes``, from its submit until it is committed."""
    return f"sigmill:{{{tenant}}}:claims"


def reply_prefix(tenant: str) -> str:
    """Streams, one per client process: its reply id (32 hex digits) follows."""
    return f"sigmill:{{{tenant}}}:reply:"


def doorbell(tenant: str) -> str:
    """Channel: rung when a job arrives while a worker that found the queue empty is listening."""
    return f"sigmill:{{{tenant}}}:doorbell"


def armed(tenant: str) -> str:
    """String: set while a worker listens that found the queue empty; ringing the doorbell deletes it."""
    return f"sigmill:{{{tenant}}}:armed"


def mark(tenant: str) -> str:
    """String, empty, for a minute: written before each WAIT, which waits for a write (``queueing.config.accept_level``)."""
    return f"sigmill:{{{tenant}}}:mark"


def mark_beside(key: str) -> str:
    """The mark of the tenant that has this key."""
    return mark(key[key.index("{") + 1 : key.index("}")])


def backlog(tenant: str) -> str:
    """Hash: digests and bytes that were accepted and have not ended, and the rate at which they end (``lua/submit.lua``)."""
    return f"sigmill:{{{tenant}}}:backlog"


def dead_letters(tenant: str) -> str:
    """Hash: job id -> its dead letter (``queueing.broker.dead_letters``), until an operator retries or drops it."""
    return f"sigmill:{{{tenant}}}:dead"


def caps(tenant: str) -> str:
    """Hash: caps of the backlog, and the day's budget; the workers write it, the submit script reads it."""
    return f"sigmill:{{{tenant}}}:caps"


def hindrance(tenant: str) -> str:
    """String, for seconds: why a worker signs nothing for the tenant (``queueing.broker.hindrances``)."""
    return f"sigmill:{{{tenant}}}:hindrance"


def limiter(tenant: str) -> str:
    """Hash: GCRA's arrival time, and the spent part of the day's budget (``lua/claim.lua``)."""
    return f"sigmill:{{{tenant}}}:limiter"


def key_usage(tenant: str, key: str, period_s: int, period: int) -> str:
    """String: digests that this key of the tenant signed in this period (``queueing.coordination.key_usage``)."""
    return f"sigmill:{{{tenant}}}:spent:{key}:{period_s}:{period}"


def tenant_of_doorbell(channel: bytes) -> str | None:
    """The tenant whose doorbell this channel is; None for any other channel."""
    match = _DOORBELL.match(channel)
    return match.group(1).decode("utf-8", "replace") if match else None


def directory(tenant: str) -> str:
    """String: the tenant's key directory, signed by the service key."""
    return f"sigmill:{{{tenant}}}:directory"


def job(job_id: str) -> str:
    """String: the job as arq writes it."""
    return JOB_PREFIX + job_id


def result(job_id: str) -> str:
    """String: the result as arq writes it, until the result retention ends."""
    return RESULT_PREFIX + job_id


def receipt(job_id: str) -> str:
    """String: proof of a job that asked for it (``queueing.broker.receipts``), until the result retention ends."""
    return RECEIPT_PREFIX + job_id


def record_head(tenant: str, name: str) -> str:
    """String: newest signed head of this tenant's log in the record of this name (``queueing.coordination.record_heads``)."""
    return f"sigmill:{{{tenant}}}:head:{name}"


RECORD_HEADS: Final = "sigmill:{*}:head:*"
"""Pattern of the keys of all heads."""
