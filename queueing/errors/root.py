"""Roots and branches of the tree: what every error of signing has, and the error of a configuration."""

from __future__ import annotations

from typing import ClassVar


class SigningError(Exception):
    """Root of the tree.

    ``retry_after_s`` is None where the service has no better advice than the client's own backoff. ``hint``: what to do,
    where it is other than for most errors of the class.
    """

    reason: ClassVar[str] = "signing.failed"
    retryable: ClassVar[bool] = False
    denied: ClassVar[bool] = False
    hint: str = "See the worker's log for the event of this job."

    def __init__(
        self, message: str = "", *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message or self.__class__.__doc__ or self.reason)
        self.message: str = str(self.args[0])
        self.retry_after_s = retry_after_s
        if hint is not None:
            self.hint = hint


class Denied(SigningError):
    """The caller may not do this."""

    reason = "policy.denied"
    denied = True


class Invalid(SigningError):
    """The input is wrong and stays wrong."""

    reason = "envelope.malformed"


class Unavailable(SigningError):
    """The service cannot do this now."""

    reason = "queue.unavailable"
    retryable = True


class ConfigError(Exception):
    """An error in the configuration: the file, the key, the problem, and the remedy.

    ``value`` is shown to people: never pass a secret.
    """

    def __init__(self, file: str, key: str, problem: str, remedy: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file = file
        self.key = key
        self.problem = problem
        self.remedy = remedy
