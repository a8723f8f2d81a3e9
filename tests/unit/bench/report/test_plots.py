"""The two kinds of plot."""

from __future__ import annotations

import itertools
import re

import pytest

from bench.report.plots import Bar, Line, bar_plot, line_plot, short


def test_a_bar_is_as_long_as_its_share() -> None:
    """Twice the share, twice the length."""
    plot = bar_plot(
        [Bar(label="a", detail="", share=0.4), Bar(label="b", detail="", share=0.8)], "throughput"
    )
    first, second = (float(width) for width in re.findall(r'<rect[^>]*width="([\d.]+)"', plot))
    assert second == pytest.approx(2 * first, abs=0.2)


def test_a_bar_below_its_bound_is_marked() -> None:
    """A row that missed its bound looks different, not only shorter."""
    plot = bar_plot(
        [
            Bar(label="a", detail="", share=0.5, bound=0.9),
            Bar(label="b", detail="", share=0.95, bound=0.9),
        ],
        "throughput",
    )
    assert plot.count('class="bar missed"') == 1
    assert plot.count('class="bound"') == 2


def test_a_row_without_a_ceiling_has_no_bar() -> None:
    """Nothing is drawn where there is nothing to compare with."""
    assert "<rect" not in bar_plot([Bar(label="a", detail="700/s", share=None)], "throughput")


def test_a_share_beyond_the_ceiling_stays_in_the_picture() -> None:
    """Noise can exceed the ceiling; the plot does not burst."""
    plot = bar_plot([Bar(label="a", detail="", share=3.0)], "throughput")
    (width,) = (float(found) for found in re.findall(r'<rect[^>]*width="([\d.]+)"', plot))
    assert width <= 860


@pytest.mark.parametrize("log_x,log_y", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize(
    "points",
    [
        [(1e3, 20.0), (1e4, 21.0), (1e6, 25.0)],
        [(5.0, 5.0)],
        [(1.0, 3.0), (2.0, 3.0)],
        [(0.3, 0.001), (0.9, 900.0)],
    ],
)
def test_every_point_lies_inside_the_plot(
    points: list[tuple[float, float]], log_x: bool, log_y: bool
) -> None:
    """Any range can be drawn: one point, a flat line, six powers of ten."""
    plot = line_plot([Line(name="l", points=points)], "p", x_label="x", y_label="y", log_x=log_x, log_y=log_y)
    dots = re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', plot)
    assert len(dots) == len(points)
    assert all(0 <= float(x) <= 860 and 0 <= float(y) <= 320 for x, y in dots)


def test_end_labels_do_not_lie_on_one_another() -> None:
    """Lines that end at the same height are named one below the other."""
    lines = [Line(name=f"line {n}", points=[(1.0, 5.0), (2.0, 5.0)]) for n in range(4)]
    plot = line_plot(lines, "p", x_label="x", y_label="y")
    heights = sorted(float(y) for y in re.findall(r'class="end s\d" x="[\d.]+" y="([\d.]+)"', plot))
    assert len(heights) == 4
    assert min(b - a for a, b in itertools.pairwise(heights)) >= 14


def test_nothing_is_drawn_without_points() -> None:
    assert line_plot([], "p", x_label="x", y_label="y") == ""


@pytest.mark.parametrize(
    "value,text",
    [(0, "0"), (0.5, "0.5"), (100, "100"), (1000, "1k"), (2500, "2.5k"), (1e6, "1M"), (123456, "123k")],
)
def test_axis_numbers_are_short(value: float, text: str) -> None:
    """Thousands and millions by their letter."""
    assert short(value) == text
