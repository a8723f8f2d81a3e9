"""``python -m workers.cli`` is ``sigmill``."""

import sys

from workers.cli.entry import main

sys.exit(main())
