"""CPU of a lane."""

from __future__ import annotations

import pytest

from workers.lanes.supervisor.process_group import cpu_for_lane


def test_a_lane_for_each_cpu_has_each_on_its_own() -> None:
    """The first free CPU; a replaced lane gets the one of its predecessor."""
    assert cpu_for_lane(3, {4, 5, 6}, []) == 4
    assert cpu_for_lane(3, {4, 5, 6}, [4, 6]) == 5


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_with_fewer_or_more_lanes_than_cpus_the_kernel_decides(lanes: int) -> None:
    """A pinned lane could wait while another CPU is idle."""
    assert cpu_for_lane(lanes, {0, 1, 2}, []) is None


def test_a_single_cpu_needs_no_pinning() -> None:
    """With one CPU there is no choice."""
    assert cpu_for_lane(1, {0}, []) is None


def test_no_free_cpu_leaves_it_to_the_kernel() -> None:
    """A lane that ends may still be there when its successor starts."""
    assert cpu_for_lane(2, {0, 1}, [0, 1]) is None
