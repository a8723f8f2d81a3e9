"""State of the front: probes, and gauges of its lane and the providers' keys."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from queueing.files.regular_file import read_regular
from workers.issuer.identity.provider_keys import MAX_FILE_BYTES, read_keys

if TYPE_CHECKING:
    from workers.issuer.issuer_file import IssuerConfiguration
    from workers.issuer.lane_client import LaneClient
    from workers.telemetry.edge_metrics import IssuerMetrics

log = logging.getLogger("sigmill.issuer")

INTERVAL_S: Final = 5.0


class FrontStatus:
    """Probes of the front. ``listening``: from the moment when requests are taken until the front drains."""

    alive = True
    listening = False

    def __init__(self, configuration: IssuerConfiguration, lane: LaneClient, metrics: IssuerMetrics) -> None:
        self._configuration = configuration
        self._lane = lane
        self._metrics = metrics

    @property
    def ready(self) -> bool:
        """Whether grants can be asked for: requests are taken, and the lane is logged in."""
        return self.listening and self._lane.ready

    async def run(self) -> None:
        """Set the gauges until cancelled."""
        log.info("issuer.started", extra={"providers": sorted(self._configuration.providers)})
        while True:
            self._metrics.issuer_lane_up.set(1.0 if self._lane.ready else 0.0)
            for provider in self._configuration.providers:
                self._metrics.provider_keys_timestamp_seconds.labels(provider).set(self._fetched_s(provider))
            await asyncio.sleep(INTERVAL_S)

    def _fetched_s(self, provider: str) -> float:
        """Unix time of the last fetch; 0 where there is no file that can be used."""
        try:
            raw = read_regular(self._configuration.keys_file(provider), largest_bytes=MAX_FILE_BYTES)
            return read_keys(raw).fetched_ms / 1000
        except (OSError, ValueError):
            return 0.0
