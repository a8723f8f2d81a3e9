"""Scratch folder of a process, for the files that boundaries read. It is removed at the end of the process."""

from __future__ import annotations

import atexit
import tempfile
from pathlib import Path
from typing import Final

_FOLDER: Final = tempfile.TemporaryDirectory(prefix="sigmill-fuzz-")
atexit.register(_FOLDER.cleanup)  # else Python warns of a folder that it has to remove itself

SCRATCH: Final = Path(_FOLDER.name)
