"""`python -m edgestyle`."""

import sys

from edgestyle.cli import main

sys.exit(main())
