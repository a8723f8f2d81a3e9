"""Guard of a login with a PIN: no PIN is tried that was refused before, or whose refusal could not be recorded.

Every login is within ``guarded_login``, whose lock keeps two processes of a host from trying one wrong PIN.
``workers/state/refused_pins.py`` keeps the refusals in ``state_dir``;
``workers/background/refused_pin_sync.py`` exchanges them with other hosts. The token's circuit breaker then stays open until the
PIN file changes or an operator resumes the token. That of a host-started lane closes after each pause: the lane starts, and
this guard refuses the same PIN again.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from workers.hsm.faults import NO_CODE, Action, HsmFailure
from workers.hsm.process_hardening import locked
from workers.state.refused_pins import RefusedPins

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from queueing.config.secrets import Secret


@contextmanager
def guarded_login(state_dir: Path, token: str, pin: Secret | None) -> Iterator[None]:
    """Context for one login to a token, alone on this host, as ``pin_attempt``.

    So a PIN that was refused is recorded before the next process would try it; and some tokens count a login that is cut off
    as failed. The lock is held beyond the initialisation of the module, so that a slow login holds up no other token of it.
    """
    with locked(state_dir / f"lane-login.{token}.lock"), pin_attempt(RefusedPins(state_dir), token, pin):
        yield


@contextmanager
def pin_attempt(refused: RefusedPins, token: str, pin: Secret | None) -> Iterator[None]:
    """Context for one login; if the token refuses the PIN in it, that is recorded. None: a login without a PIN.

    Raises ``HsmFailure`` before the block: PIN_REFUSED_BEFORE, PIN_MEMORY_UNUSABLE. Costs two small fsyncs.
    """
    if pin is None:
        yield
        return
    with ExitStack() as stack:
        try:
            before = refused.contains(token, pin)
            entry = stack.enter_context(refused.reserved_entry(token))
        except OSError as error:
            raise HsmFailure(
                "PIN_MEMORY_UNUSABLE",
                NO_CODE,
                Action.OPEN_CIRCUIT,
                detail=f"{error.filename or 'state_dir'}: {error.strerror}",
            ) from error
        if before:
            raise HsmFailure(
                "PIN_REFUSED_BEFORE",
                NO_CODE,
                Action.OPEN_CIRCUIT,
                pin_failure=True,
                detail="the token refused this PIN before",
            )
        try:
            yield
        except HsmFailure as failure:
            if failure.pin_failure:
                with suppress(OSError):  # it must not hide the refusal, which the exit code reports, too
                    entry.remember(pin)
            raise
