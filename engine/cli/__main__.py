"""`sojourn`, and `python -m engine.cli`: how `sojourn up` starts its children, whatever is on PATH."""

import sys


def main() -> None:
    """Run the command line. It takes a moment to load; whoever ends it meanwhile sees no more than that it ended."""
    try:
        from engine.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
