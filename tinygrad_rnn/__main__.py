"""`python -m tinygrad_rnn` is the command line."""

import sys

from .app.cli import main

sys.exit(main())
