"""The simulated HSM's log, read while the module writes to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.hsm.simhsm import read_log

LINE = "4711 3 0badcafe 0x0 deadbeef 17\n"


@pytest.mark.parametrize("torn", ["", "4711", "4711 3 0bad", LINE.rstrip("\n")])
def test_a_line_that_is_not_finished_is_no_record_yet(tmp_path: Path, torn: str) -> None:
    """Whole lines count, wherever the reader cuts in."""
    log = tmp_path / "log"
    log.write_text(LINE * 2 + torn)
    assert [record.pid for record in read_log(log)] == [4711, 4711]
