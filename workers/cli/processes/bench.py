"""``sigmill bench``: measures the pipeline's cost and plans capacity."""

from __future__ import annotations

from pathlib import Path

import click

from workers.cli.commands import CheckedGroup
from workers.cli.shell.options import json_option
from workers.cli.shell.output import Exit, Output, emit, print_line, print_message


@click.group(cls=CheckedGroup)
def bench() -> None:
    """Measure this machine, or plan a larger one. Needs Redis, SoftHSM and cc (`ops/bootstrap` installs them)."""


@bench.command()
@json_option
@click.pass_obj
def quick(output: Output, /) -> Exit:
    """Check every threshold in some six minutes; exit code 1 if one is missed."""
    from bench.report.data import exit_status
    from bench.runner import run
    from bench.session import QUICK

    report = run("quick", QUICK, print_message if output.as_json else print_line)
    if output.as_json:
        emit(report)
    return Exit(exit_status(report))


@bench.command()
@json_option
@click.pass_obj
def full(output: Output, /) -> Exit:
    """Measure every row and check every threshold; takes up to 40 minutes."""
    from bench.report.data import exit_status
    from bench.runner import run
    from bench.session import FULL

    report = run("full", FULL, print_message if output.as_json else print_line)
    if output.as_json:
        emit(report)
    return Exit(exit_status(report))


@bench.command()
@click.argument("names", nargs=-1, metavar="NAME…")
@click.option("--full", "at_full_pace", is_flag=True, help="Use the pace of the full run.")
@json_option
def scenario(*, names: tuple[str, ...], at_full_pace: bool) -> Exit:
    """Run single scenarios without a report; without a NAME, list them."""
    from bench.runner import run_scenarios
    from bench.scenarios.catalogue import SCENARIOS
    from bench.session import FULL, QUICK

    unknown = sorted(set(names) - set(SCENARIOS))
    if unknown or not names:
        print_message(f"scenarios: {', '.join(SCENARIOS)}")
        return Exit.USAGE if unknown else Exit.DONE
    return Exit.DONE if run_scenarios(names, FULL if at_full_pace else QUICK) else Exit.FAILED


@bench.command()
@click.option(
    "--count", type=click.IntRange(min=1), default=2000, show_default=True, help="PE files of 1 MiB to sign."
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Rounds of each way to sign them.",
)
@click.option(
    "--hsm",
    "model",
    default=None,
    metavar="MODEL",
    help="Simulate this device of the table of published rates, instead of SoftHSM.",
)
@json_option
@click.pass_obj
def files(output: Output, /, *, count: int, rounds: int, model: str | None) -> Exit:
    """Measure how fast a build signs its files: osslsigncode file by file, directly and by the agent, and `sigmill sign-file`.

    The ways take turns, with the module's ceiling between them. Needs osslsigncode and p11-kit's modules (`ops/tools`
    installs them), and twice the files' size of disk below TMPDIR. Writes build/bench/files.json.

    With --hsm the module answers at the device's published rate, with real signatures that take no CPU, and the exit code is
    1 if `sigmill sign-file` reaches less than 0.85 of it.
    """
    from bench.capacity.hsm_rates import MODELS, hsm_rate
    from bench.files.comparison import compare
    from bench.files.device import KIND, Device
    from bench.load.flows import FlowFailed

    if model is not None and model not in MODELS:
        raise click.UsageError(f"{model} is not in the table; known models: {', '.join(MODELS)}")
    try:
        device = Device(None if model is None else hsm_rate(MODELS[model], KIND))
        found = compare(count, rounds, print_message if output.as_json else print_line, device)
    except FlowFailed as error:
        raise click.UsageError(str(error)) from None
    if output.as_json:
        emit(found)
    return Exit.DONE if found.ok else Exit.FAILED


@bench.command()
@click.option(
    "--minutes",
    type=click.FloatRange(min=0.5),
    default=60.0,
    show_default=True,
    help="Length: a third each at the mean, at the peak, and at the mean again.",
)
@click.option(
    "--tenants", type=click.IntRange(min=1), default=1000, show_default=True, help="Configured tenants."
)
@click.option(
    "--per-day",
    type=float,
    default=500e6,
    show_default=True,
    metavar="N",
    help="Signatures per day of all tenants.",
)
@click.option(
    "--hsm", "model", default=None, metavar="MODEL", help="A device in the table of published rates."
)
@click.option("--kill-worker", is_flag=True, help="Two workers, of which one is killed at the peak.")
@click.option("--redis-failover", is_flag=True, help="Redis behind Sentinels, which fails over at the peak.")
@json_option
@click.pass_obj
def day(  # noqa: PLR0913 - one parameter per option
    output: Output,
    /,
    *,
    minutes: float,
    tenants: int,
    per_day: float,
    model: str | None,
    kill_worker: bool,
    redis_failover: bool,
) -> Exit:
    """Run a day of a thousand tenants on this machine, compressed to an hour; exit code 1 if a rule is not met.

    The rates are the real ones. Devices are simulated by their published rates, the record is on. Writes
    build/bench/day/report.json and report.html, and needs some GB of disk below TMPDIR.
    """
    from bench.capacity.hsm_rates import MODELS
    from bench.capacity.planning import DEFAULT_MODEL
    from bench.day.run import DayOptions, run
    from bench.report.data import exit_status

    model = model or DEFAULT_MODEL
    if model not in MODELS:
        raise click.UsageError(f"{model} is not in the table; known models: {', '.join(MODELS)}")
    if kill_worker and redis_failover:
        raise click.UsageError("--kill-worker and --redis-failover are two runs")
    if per_day <= 0:
        raise click.UsageError("--per-day must be positive")
    options = DayOptions(
        minutes=minutes,
        tenants=tenants,
        per_day=per_day,
        model=model,
        kill_worker=kill_worker,
        redis_failover=redis_failover,
    )
    report = run(options, print_message if output.as_json else print_line)
    if output.as_json:
        emit(report)
    return Exit(exit_status(report))


@bench.command()
@click.option("--per-day", type=float, required=True, metavar="N", help="Signatures per day, such as 500e6.")
@click.option(
    "--algorithm",
    required=True,
    metavar="NAME",
    help="An algorithm, or for RSA a kind of key such as RSA_3072.",
)
@click.option(
    "--hsm", "model", default=None, metavar="MODEL", help="A device in the table of published rates."
)
@click.option(
    "--peak-factor", type=float, default=3.0, show_default=True, help="Ratio of the busiest hour to the mean."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("build/bench/report.json"),
    show_default=True,
    help="Report with the measured costs.",
)
@json_option
@click.pass_obj
def plan(
    output: Output, /, *, per_day: float, algorithm: str, model: str | None, peak_factor: float, report: Path
) -> Exit:
    """Estimate the HSMs, worker cores and Redis shards for a number of signatures per day."""
    from bench.capacity.hsm_rates import MODELS
    from bench.capacity.model import Demand, in_words, kind_named
    from bench.capacity.planning import DEFAULT_MODEL, planned
    from bench.report.files import read_report

    model = model or DEFAULT_MODEL
    if model not in MODELS:
        raise click.UsageError(f"{model} is not in the table; known models: {', '.join(MODELS)}")
    if not report.exists():
        raise click.UsageError(f"{report} does not exist: run `sigmill bench quick` first, or give --report")
    try:
        demand = Demand(per_day=per_day, kind=kind_named(algorithm), peak_factor=peak_factor)
        result = planned(read_report(report).rows, demand, model)
    except (ValueError, LookupError) as error:
        raise click.UsageError(str(error)) from None
    if output.as_json:
        emit(result)
        return Exit.DONE
    for line in in_words(result):
        print_line(line)
    return Exit.DONE
