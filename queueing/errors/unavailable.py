"""Errors of the branch ``Unavailable``: not now; the same request may succeed later."""

from __future__ import annotations

from queueing.errors.root import Unavailable


class LimitRate(Unavailable):
    """The tenant's rate is used up for now."""

    reason = "limit.rate"
    hint = "Wait for retry_after_s; the client does so until its deadline."


class LimitBacklog(Unavailable):
    """The tenant's backlog is full; nothing was accepted."""

    reason = "limit.backlog"
    hint = "Wait for retry_after_s; the client does so until its deadline."


class LimitBudget(Unavailable):
    """The tenant's budget is used up until it is renewed."""

    reason = "limit.budget"
    hint = "Ask the operator for a larger budget, or wait for the next period."


class JobExpired(Unavailable):
    """The envelope expired before all of it was signed; no signature was returned.

    ``retry_after_s``: only where Redis no longer had the job, by its own clock; none where a lane read the envelope's dates.
    """

    reason = "job.expired"
    hint = "Submit again under the same request id; a waiting client does so automatically."


class WaitTimeout(Unavailable):
    """The deadline passed before the result came; the job is still processed."""

    reason = "wait.timeout"
    hint = "Nothing is lost: wait again with the job id."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, job_ids: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.job_ids = job_ids


class TokenUnavailable(Unavailable):
    """The token that holds the key cannot be used now."""

    reason = "token.unavailable"
    hint = "The operator sees it in `sigmill tokens list`; accepted jobs stay queued."


class HsmFault(Unavailable):
    """The HSM failed in the middle of the operation."""

    reason = "hsm.fault"
    hint = "The lane is replaced and the job retried; check sigmill_lane_restarts_total if it persists."


class ClockSetBack(Unavailable):
    """The host's clock was set: it cannot be told whether the envelope has expired."""

    reason = "clock.set_back"
    hint = "The operator corrects the host's clock, or has its lanes forget the time that it showed before; accepted jobs stay queued."


class ConfigBehind(Unavailable):
    """Another host has a newer file of the tenant than this worker, and may sign the job."""

    reason = "config.behind"
    hint = "The operator brings the newest file to each host, and reloads it; accepted jobs stay queued."


class LogUnavailable(Unavailable):
    """The write-ahead log cannot be written, so nothing is signed or released."""

    reason = "log.unavailable"
    hint = "Check the disk of the worker's state directory; work resumes automatically."


class QueueUnavailable(Unavailable):
    """Redis cannot be reached, or refuses."""

    reason = "queue.unavailable"
    hint = "Check Redis; submitting again under the same request id is safe."

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_s: float | None = None,
        perhaps_done: bool = False,
        server_wide: bool = False,
    ) -> None:
        """``perhaps_done``: the commands were sent, once (``queueing.redis.send_once``), and their answer was lost.

        ``server_wide``: Redis refuses for a cause that lies in the server or in the rights of its user, not in a key.
        """
        super().__init__(message, retry_after_s=retry_after_s)
        self.perhaps_done = perhaps_done
        self.server_wide = server_wide


class QueueUnconfirmed(Unavailable):
    """Redis has it, but too few replicas confirmed it in time; a failover may lose it."""

    reason = "queue.unconfirmed"
    hint = "Check the replicas of Redis; submitting again under the same request id is safe, and the client does so."


class CreationBusy(Unavailable):
    """Another command is making a key, or the statement of one, on this host."""

    reason = "creation.busy"
    hint = "Wait for it, look at `sigmill keys list`, then try again."


class IdentityUnavailable(Unavailable):
    """The build's provider gave no token."""

    reason = "identity.unavailable"
    hint = "Check that the build may ask for tokens (GitHub: `permissions: id-token: write`), and `identity` in client.toml."


class IssuerUnavailable(Unavailable):
    """The issuer of grants cannot be reached, or cannot answer now."""

    reason = "issuer.unavailable"
    hint = "Check `issuer` in client.toml and the issuer's service; the client asks again until its deadline."


class TimeStampUnavailable(Unavailable):
    """No time-stamp server gave a valid time-stamp; the file is as it was."""

    reason = "timestamp.unavailable"
    hint = (
        "Run it again later, name further servers by --timestamp-url, or do without by --timestamp-optional."
    )


class ReceiptMissing(Unavailable):
    """The signature was made, and its receipt is missing."""

    reason = "receipt.missing"
    hint = (
        "The signature is good. Collect the receipt later by a rerun with the same request id and `--receipts`, or ask the"
        " operator for one (`sigmill audit receipt`)."
    )

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, announced: bool = False
    ) -> None:
        """``announced``: the worker said that a receipt follows, and it was not asked for yet."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.announced = announced
