"""The front's connection to the issuer's lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from queueing.errors import IssuerUnavailable
from workers.issuer.lane_client import LaneClient

if TYPE_CHECKING:
    from asyncio import StreamWriter

    from workers.issuer.issuer_file import IssuerConfiguration


class ClosedWriter:
    """Writer whose transport has met the other side's end; uvloop raises for each write to it."""

    def is_closing(self) -> bool:
        return True

    def write(self, data: bytes) -> None:
        raise RuntimeError("unable to perform operation; the handler is closed")


async def test_a_request_that_meets_the_end_of_the_lane_is_told_to_come_again() -> None:
    """Until the loop has read of that end the lane still counts as ready."""
    client = LaneClient(cast("IssuerConfiguration", None))
    client.ready = True
    client._writer = cast("StreamWriter", ClosedWriter())
    with pytest.raises(IssuerUnavailable) as caught:
        await client.ask(b"request", b"", check=False)
    assert caught.value.retry_after_s == 2.0
    assert client.waiting == 0
