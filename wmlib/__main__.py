"""`python -m wmlib`: see `wmlib.cli`."""

import sys

from wmlib.cli import main

if __name__ == "__main__":
    sys.exit(main())
