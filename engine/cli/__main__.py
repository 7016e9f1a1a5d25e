"""`python -m engine.cli` is `sojourn`: how `sojourn up` starts its children, whatever is on PATH."""

from engine.cli.main import main

if __name__ == "__main__":
    main()
