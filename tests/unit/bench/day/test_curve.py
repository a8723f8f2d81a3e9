"""The compressed day: the mean, the peak, the mean again, at the real rates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.day.curve import AFTER, BEFORE, PEAK, compressed_day, moment_of, phase_at, seconds_of_mean


def test_an_hour_has_forty_minutes_at_the_mean_and_twenty_at_the_peak() -> None:
    phases = compressed_day(3600.0)
    assert [(phase.name, phase.seconds / 60, phase.level) for phase in phases] == [
        (BEFORE, 20.0, 1.0),
        (PEAK, 20.0, 3.0),
        (AFTER, 20.0, 1.0),
    ]


def test_a_shorter_day_has_the_same_shape() -> None:
    """Its phases follow each other without a gap, and are the same parts of it."""
    hour, short = compressed_day(3600.0), compressed_day(180.0)
    assert [phase.starts_s / 3600 for phase in hour] == pytest.approx([p.starts_s / 180 for p in short])
    assert [phase.ends_s for phase in short[:-1]] == [phase.starts_s for phase in short[1:]]
    assert short[-1].ends_s == 180.0


@pytest.mark.parametrize("seconds,factor", [(0.0, 3.0), (-1.0, 3.0), (60.0, 0.0)])
def test_a_day_without_length_or_rate_is_refused(seconds: float, factor: float) -> None:
    with pytest.raises(ValueError, match="a day has a length"):
        compressed_day(seconds, factor)


@given(part=st.floats(0.0, 0.999), seconds=st.floats(1.0, 1e5), factor=st.floats(0.1, 10.0))
def test_a_moment_is_that_by_which_as_much_was_asked(part: float, seconds: float, factor: float) -> None:
    """The work of the phases before it, and of its own phase so far, is what was asked for."""
    phases = compressed_day(seconds, factor)
    wanted_s = part * seconds_of_mean(phases)
    at_s = moment_of(phases, wanted_s)
    assert at_s is not None
    done_s = sum(phase.level * max(0.0, min(at_s, phase.ends_s) - phase.starts_s) for phase in phases)
    assert done_s == pytest.approx(wanted_s, abs=1e-6 * seconds)


def test_there_is_no_moment_beyond_the_end() -> None:
    phases = compressed_day(30.0)
    assert moment_of(phases, seconds_of_mean(phases) + 1e-6) is None


def test_a_moment_belongs_to_the_phase_that_it_begins() -> None:
    """After the end it is the last phase: late answers belong to it."""
    phases = compressed_day(30.0)
    assert [phase_at(phases, at_s).name for at_s in (0.0, 9.9, 10.0, 20.0, 99.0)] == [
        BEFORE,
        BEFORE,
        PEAK,
        AFTER,
        AFTER,
    ]
