"""`python -m fnkd_core` is `fnkd`."""

import sys

from fnkd_core.cli import main

sys.exit(main())
