"""`python -m lipviz` is the command `lipviz`."""

import sys

from lipviz.cli import main

sys.exit(main())
