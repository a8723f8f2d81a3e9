"""The dashboards.

All exporters report the same values, so a panel shows their maximum: a second exporter changes nothing.
"""

from __future__ import annotations

from typing import Final

from ops.generate.dashboards.edge_board import EDGE
from ops.generate.dashboards.hsm_board import HSM
from ops.generate.dashboards.overview_board import OVERVIEW
from ops.generate.dashboards.queue_board import QUEUE
from ops.generate.dashboards.tenant_board import TENANT
from ops.generate.dashboards.worker_board import WORKER

BOARDS: Final = (OVERVIEW, TENANT, HSM, QUEUE, WORKER, EDGE)
