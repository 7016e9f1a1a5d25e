"""A worker, alone: `python worker.py` runs against SOJOURN_DATABASE_URL and SOJOURN_TEMPORAL_ADDRESS, in the project's folder.

The same as `sojourn worker`, whose options it takes; for containers and process supervisors.
"""

import sys

from engine.cli.main import main

if __name__ == "__main__":
    main(["worker", *sys.argv[1:]])
