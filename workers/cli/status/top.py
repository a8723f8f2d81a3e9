"""``sigmill top``: live view of the cluster, from its metrics."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from queueing.errors import SigningError
from workers.cli.shell.options import Duration, config_option, json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message, printable
from workers.config.service_file import load_service
from workers.monitoring.http import check_url
from workers.monitoring.prometheus import PrometheusMetrics
from workers.monitoring.scrape import ScrapedMetrics, fetch_pages
from workers.monitoring.screen import lines_of
from workers.monitoring.snapshot import Snapshot, snapshot_of

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME_AND_CLEAR: Final = "\x1b[H\x1b[2J"
"""xterm's alternate screen without a cursor; leaving it restores the terminal's content."""

_FIRST_S: Final = 1.0
"""Maximum time to the first view, also with a longer interval."""

Source = Callable[[float], Snapshot]
"""Waits the given number of seconds, then returns the next view."""


@click.command()
@config_option
@click.option(
    "--workers",
    metavar="URL,…",
    help="Metrics pages of workers and exporter. Default: [metrics] and [exporter] of --config.",
)
@click.option("--prometheus", metavar="URL", help="Query this Prometheus instead, for the whole cluster.")
@click.option(
    "--match", multiple=True, metavar="LABEL=VALUE", help="Only series with this label; with --prometheus."
)
@click.option(
    "--window",
    "window_s",
    type=Duration(),
    default="1m",
    show_default=True,
    help="Period of rates and quantiles; with --prometheus.",
)
@click.option(
    "--interval",
    "interval_s",
    type=Duration(),
    default="2s",
    show_default=True,
    help="Time between two views.",
)
@click.option("--once", is_flag=True, help="Print one view and exit.")
@json_option
@click.pass_obj
def top(  # one parameter per option  # noqa: PLR0913 - one parameter per option
    output: Output,
    /,
    *,
    config: Path,
    workers: str | None,
    prometheus: str | None,
    match: tuple[str, ...],
    window_s: float,
    interval_s: float,
    once: bool,
) -> Exit:
    """Show rates, waits, backlogs, sessions, limits and circuit breakers, updated until Ctrl-C.

    Reads the metrics of workers and exporter, never Redis. Rates need two readings of a page, so the first view takes
    a moment. Without a terminal, or with --once, it exits after one view; with --json and without --once it writes
    one object per line until it is stopped.

    Exit code 75 if no worker could be read.
    """
    if workers is not None and prometheus is not None:
        raise click.UsageError("give --workers or --prometheus, not both")
    if match and prometheus is None:
        raise click.UsageError("--match needs --prometheus")
    interval_s = max(interval_s, 0.1)
    if prometheus is not None:
        source = _prometheus_source(check_url("--prometheus", prometheus), window_s, _labels(match))
    else:
        source = _pages_source(_addresses(config, workers))
    if once or not (output.as_json or sys.stdout.isatty()):
        return _show_once(source, interval_s, as_json=output.as_json)
    try:
        return _stream(source, interval_s) if output.as_json else _watch(source, interval_s)
    except KeyboardInterrupt:
        return Exit.DONE


def _addresses(config: Path, given: str | None) -> list[str]:
    if given is not None:
        return [check_url("--workers", url.strip()) for url in given.split(",") if url.strip()]
    service = load_service(config)
    return [f"http://{page.address}" for page in (service.metrics, service.exporter)]


def _labels(match: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in match)
    if not all(label.isidentifier() and value for label, value in pairs.items()):
        raise click.UsageError("write --match LABEL=VALUE")
    return pairs


def _prometheus_source(url: str, window_s: float, match: dict[str, str]) -> Source:
    queried = False

    def next_view(wait_s: float) -> Snapshot:
        nonlocal queried
        if queried:
            time.sleep(wait_s)
        queried = True
        return snapshot_of(PrometheusMetrics(url, window_s=window_s, match=match))

    return next_view


def _pages_source(addresses: list[str]) -> Source:
    before, _ = fetch_pages(addresses)
    first = True

    def next_view(wait_s: float) -> Snapshot:
        nonlocal before, first
        time.sleep(min(wait_s, _FIRST_S) if first else wait_s)
        first = False
        now, problems = fetch_pages(addresses)
        figures = ScrapedMetrics(before, now)
        before = now
        return snapshot_of(figures, tuple(error.message for error in problems.values()))

    return next_view


def _show_once(source: Source, interval_s: float, *, as_json: bool) -> Exit:
    view = source(interval_s)
    if as_json:
        emit(view)
    else:
        for line in lines_of(view, width=sys.maxsize, height=None):
            print_line(line)
    return _exit(view)


def _stream(source: Source, interval_s: float) -> Exit:
    while True:
        emit(source(interval_s))


def _watch(source: Source, interval_s: float) -> Exit:
    with _alternate_screen():
        while True:
            try:
                view = source(interval_s)
            except SigningError as error:
                _draw([f"! {error.message}"])
                time.sleep(interval_s)
                continue
            columns, rows = shutil.get_terminal_size()
            title = f"sigmill top  {datetime.now(UTC):%F %T} UTC  every {interval_s:g} s  Ctrl-C exits"
            _draw([title[:columns], *lines_of(view, width=columns, height=rows - 2)])


def _draw(lines: list[str]) -> None:
    sys.stdout.write(_HOME_AND_CLEAR + "\n".join(map(printable, lines)))
    sys.stdout.flush()


@contextmanager
def _alternate_screen() -> Iterator[None]:
    sys.stdout.write(_ENTER)
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


def _exit(view: Snapshot) -> Exit:
    if view.workers:
        return Exit.DONE
    print_message("no worker found: " + ("; ".join(view.problems) or "nothing is scraped"))
    return Exit.RETRY
