"""Time from a stop order until every worker has confirmed it: two workers on this machine, with work for both of them.

The order names a version of no key, so the load continues. Workers and lanes apply it like the order against a retired or
revoked version. Then versions that sign are retired and revoked, and the time of their last signature is measured.
"""

from __future__ import annotations

import base64
import statistics
import time
from typing import Final

from bench.load.flows import FlowFailed, load_process
from bench.load.messages import Endless, Rest
from bench.report.data import at_most
from bench.scenarios.orders.version_ends import version_ends
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.client_keys import ClientKey
from workers.cli.operate.order_sender import OrderSender
from workers.config.service_file import load_service
from workers.dev.tenants import KEY

ORDERS: Final = {"quick": 10, "full": 100}
WORKERS: Final = 2
PAUSE_S: Final = 0.2
WITHIN_S: Final = 1.0
LOAD_AHEAD_S: Final = 2.0
LOAD_SIZE: Final = 64
TENANT: Final = BenchTenant(name="p256-off", kind=KeyKind.P256, verify_after_sign=False)


def stop_orders(session: Session) -> None:
    """Median and worst of the orders, by the clock of their sender. It looks for confirmations every 50 ms."""
    operator = ClientKey.generate()
    public_key = base64.b64encode(operator.public_spki).decode()
    table = f'\n[operators.bench]\npublic_key = "{public_key}"\n'
    with (
        session.testbed([TENANT], workers=WORKERS, service=table) as testbed,
        load_process(testbed, TENANT) as load,
    ):
        load.order(Endless(size=LOAD_SIZE))
        load.answer()
        time.sleep(LOAD_AHEAD_S)
        service = load_service(testbed.directory / "sigmill-1.toml")
        sender = OrderSender(service=service, operator="bench", signer=operator)
        took_s = [_confirmed_s(sender, number) for number in range(2, 2 + ORDERS[session.pace.name])]
        load.order(Rest())
        load.answer()
    median = at_most(
        "stop order on two workers under load, median", statistics.median(took_s), WITHIN_S, unit="s"
    )
    worst = at_most("stop order on two workers under load, worst", max(took_s), WITHIN_S, unit="s")
    session.threshold(median)
    session.threshold(worst)
    operator_key = session.directory / "operator.key"
    operator.write(operator_key)
    version_ends(session, table, operator_key)


def _confirmed_s(sender: OrderSender, version: int) -> float:
    line = sender.send(scope="version", tenant=TENANT.name, name=f"{KEY}/{version}", reason="measured")
    if line.workers != WORKERS or not line.everywhere:
        raise FlowFailed(f"{len(line.adopted_by)} of {line.workers} workers confirmed an order in time")
    time.sleep(PAUSE_S)
    return line.within_s
