"""Faults in a stack under load: the alerts of a real Prometheus with our rules name them, and resolve after
the repair.

The rules are those of production by a clock on which an hour is a minute. Dashboards are looked at afterwards: every
panel has something to show of such a minute.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.generate.dashboards.boards import BOARDS
from ops.generate.dashboards.panels import Board, Panel
from queueing import ClientKey
from queueing.protocol.algorithms import KeyKind
from tests.integration.ops.drill import BROKEN, CLOCK, FLOODING, WELL, Drill, Story, more_of_tenants
from tests.support.hsm.tokens import TokenShelf
from tests.support.monitoring.prometheus import Firing, Prometheus, browse, start_exporter, start_prometheus
from tests.support.monitoring.promql import ROOT
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig
from tests.support.rig.shared_rig import behind_simhsm
from tests.support.tools import tool

pytestmark = pytest.mark.timeout(240)  # the first test waits for the whole story


@dataclass(frozen=True, slots=True)
class Watched:
    """Result of the drill, its Prometheus, and the metrics pages of worker and exporter at the end."""

    story: Story
    prometheus: Prometheus
    pages: tuple[str, str]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Drill with its own tokens, since its faults would damage shared ones."""
    folder = tmp_path_factory.mktemp("drill")
    revoked = ClientKey.generate()
    with RedisProcess(folder / "redis", password="drill", appendonly=True) as redis:
        rig = Rig(
            directory=folder / "rig",
            redis=redis,
            shelf=TokenShelf(folder / "shelf"),
            tenants=dict.fromkeys((BROKEN, FLOODING, WELL), KeyKind.P256),
            wrap=behind_simhsm(folder / "rig", sign_us=1000),
            worker={"lease_s": 2.0, "canary_s": 2.0},
            more=more_of_tenants(revoked),
        )
        with rig:
            file = rig.tenant_file(WELL)
            file.write_text('class = "interactive"\n' + file.read_text())
            exporter = start_exporter(rig)
            worker = rig.start_worker()
            ports = {"sigmill_worker": worker.port, "sigmill_exporter": exporter.port}
            with start_prometheus(folder / "prometheus", CLOCK, **ports) as prometheus:
                drill = Drill(rig=rig, worker=worker, prometheus=prometheus, revoked=revoked)
                story = asyncio.run(drill.play())
                pages = (worker.get("/metrics")[1], exporter.get("/metrics")[1])
                yield Watched(story, prometheus, pages)


ABSENT = re.compile(r"sigmill_(relay|https|grants?|provider_keys|issuer|log_share)_")
"""Metrics that the drill does not have: relay and issuer do not run there, and no tenant fills the disk of the log."""


def is_absent(panel: Panel) -> bool:
    return all(ABSENT.search(query.expr) for query in panel.queries)


def named(firing: set[Firing], name: str) -> list[dict[str, str]]:
    return [dict(alert.labels) for alert in firing if alert.name == name]


def test_while_all_is_well_nothing_fires(watched: Watched) -> None:
    """Under load with a client that is refused continuously, all alerts but burn rates stop firing before the
    faults.
    """
    assert not watched.story.before


def test_a_broken_hsm_lane_is_told_by_its_token(watched: Watched) -> None:
    """SigmillCircuitOpen fires for the broken token only, and resolves when the device is back."""
    (alert,) = named(watched.story.hsm_broken, "SigmillCircuitOpen")
    assert (alert["token"], alert["severity"]) == (BROKEN, "page")
    assert not named(watched.story.repaired, "SigmillCircuitOpen")


def test_the_canary_misses_the_broken_token_and_no_other(watched: Watched) -> None:
    """SigmillCanaryFailing fires for the broken token only, and resolves when the device is back."""
    alerts = named(watched.story.canary_failing, "SigmillCanaryFailing")
    assert [alert["token"] for alert in alerts] == [BROKEN]
    assert not named(watched.story.repaired, "SigmillCanaryFailing")


def test_a_flooding_tenant_is_told_by_its_name(watched: Watched) -> None:
    """SigmillTenantThrottled names the flooding tenant as a ticket, without a page, and resolves after the flood."""
    (alert,) = named(watched.story.flooding, "SigmillTenantThrottled")
    assert (alert["tenant"], alert["severity"]) == (FLOODING, "ticket")
    assert not [a for a in named(watched.story.flooding, "SigmillBacklogAgeHigh") if a["tenant"] != BROKEN]
    assert not named(watched.story.repaired, "SigmillTenantThrottled")


def test_a_redis_that_is_away_is_told_and_that_it_was_restarted(watched: Watched) -> None:
    """SigmillRedisDown fires and resolves; SigmillRedisRestarted fires afterwards, and finally no alert."""
    assert named(watched.story.redis_away, "SigmillRedisDown")
    assert not named(watched.story.redis_back, "SigmillRedisDown")
    assert named(watched.story.redis_back, "SigmillRedisRestarted")
    assert not watched.story.at_the_end


def test_no_alert_names_the_tenant_without_faults(watched: Watched) -> None:
    """While the HSM is broken, during the flood, and after both."""
    story = watched.story
    for firing in (story.hsm_broken, story.flooding, story.repaired):
        assert not [alert for alert in firing if alert.about(tenant=WELL) or alert.about(token=WELL)]


def test_promtool_has_nothing_to_say_of_the_pages(watched: Watched) -> None:
    """promtool accepts the metrics pages after the drill, and they are below the limit of series."""
    for page in watched.pages:
        checked = subprocess.run(
            [tool("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        assert 30 < len([line for line in page.splitlines() if not line.startswith("#")]) < 2000


def test_each_class_has_its_own_account(watched: Watched) -> None:
    """Objectives are counted by the class in each tenant's file."""
    for tenant_class in ("standard", "interactive"):
        assert (
            watched.prometheus.value(f'sigmill_objective_jobs_total{{class="{tenant_class}",result="good"}}')
            > 0
        )


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_panel_has_something_to_show(watched: Watched, board: Board) -> None:
    """Every query of every panel is one, and has data over the minutes of the drill, but those of ``ABSENT``."""
    empty = {}
    for panel in board.panels:
        for query in panel.queries:
            expr = re.sub(r"\$(tenant|token|instance)", ".*", query.expr).replace("$__rate_interval", "30s")
            if not watched.prometheus.points(expr) and not is_absent(panel):
                empty[panel.title] = expr
    assert not empty


FIGURE = re.compile(r'<figure[^>]*data-series="(\d+)"[^>]*data-error="([^"]*)"[^>]*><figcaption>([^<]*)')


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_prometheus_serves_a_page_for_each_dashboard(watched: Watched, board: Board) -> None:
    """Prometheus serves each console page with its template executed."""
    status, page = watched.prometheus.get(f"/consoles/sigmill-{board.name}.html")
    assert (status, "{{" in page, 'PREFIX = ""' in page) == (200, False, True)


@pytest.mark.slow
@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_a_browser_shows_data_in_each_panel_of_a_page(watched: Watched, board: Board, tmp_path: Path) -> None:
    """The page's own script draws data in every panel; ``docs/console.png`` is such a picture."""
    picture = ROOT / "build" / "consoles" / f"{board.name}.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    address = watched.prometheus.page(f"sigmill-{board.name}.html", range="60", window="5")
    document = browse(address, tmp_path, picture=picture)
    assert 'data-state="shown"' in document
    figures = FIGURE.findall(document)
    assert sorted(title for _, _, title in figures) == sorted(panel.title for panel in board.panels)
    absent = {panel.title for panel in board.panels if is_absent(panel)}
    assert not [title for series, error, title in figures if error or (series == "0" and title not in absent)]
    assert picture.stat().st_size > 20_000
