"""Probes of the issuer's front: it is ready when it takes requests and has a lane, not sooner."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from workers.issuer.front_status import FrontStatus


@pytest.mark.parametrize("listening", [True, False])
@pytest.mark.parametrize("has_lane", [True, False])
def test_a_front_is_ready_when_it_listens_and_has_a_lane(listening: bool, has_lane: bool) -> None:
    """A client that is sent there would be refused its connection, or its grant."""
    unused = cast("Any", None)
    status = FrontStatus(unused, cast("Any", SimpleNamespace(ready=has_lane)), unused)
    assert not status.ready
    status.listening = listening
    assert status.ready is (listening and has_lane)
