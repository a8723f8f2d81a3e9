"""What is committed is what the code says."""

from __future__ import annotations

import pytest

from ops.generate.files import ROOT, generated


@pytest.mark.parametrize("path", sorted(generated()))
def test_a_generated_file_is_as_it_would_be_written(path: str) -> None:
    """Whoever changes the code runs ``make generate``."""
    assert (ROOT / path).read_text("utf-8") == generated()[path], "run `make generate`"
