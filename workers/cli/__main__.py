"""The process ``sigmill``, also as ``python -m workers.cli``."""

import sys

from queueing.garbage_collection import collect_less_often

collect_less_often()  # before the imports: what they make is no garbage

from workers.cli.main import main  # noqa: E402

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
