"""`python -m benchmarks`: the same as `graphflow bench`."""

import sys

from graphflow.bench.command import main

if __name__ == "__main__":
    sys.exit(main())
