"""One attempt at a login with a PIN: not where it was refused before, nor where a refusal could not be remembered."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from workers.hsm.faults import NO_CODE, Action, HsmFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queueing.config.secrets import Secret
    from workers.state.refused_pins import RefusedPins


@contextmanager
def pin_attempt(refused: RefusedPins, token: str, pin: Secret | None) -> Iterator[None]:
    """The login belongs into this block; if the token refuses the PIN there, that is remembered. None: there is no PIN.

    Raises ``HsmFailure`` before the block: PIN_REFUSED_BEFORE, PIN_MEMORY_UNUSABLE. Costs two small fsyncs.
    """
    if pin is None:
        yield
        return
    with ExitStack() as stack:
        try:
            before = refused.contains(token, pin)
            room = stack.enter_context(refused.room(token))
        except OSError as error:
            raise HsmFailure(
                "PIN_MEMORY_UNUSABLE", NO_CODE, Action.OPEN_CIRCUIT, detail=f"state_dir: {error.strerror}"
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
                with suppress(OSError):  # it must not hide the refusal, which is told by the exit code, too
                    room.remember(pin)
            raise
