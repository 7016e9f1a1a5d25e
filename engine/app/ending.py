"""How every process of ours ends: with its own exit code, whatever native threads still run.

An interpreter that ran a Temporal worker aborts now and then while it shuts down (exit 134 or 139), because native threads
still want the interpreter lock. Every entry point and the test session leave through `end_process`, and through nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from typing import NoReturn

GRACE = 0.5
"""Seconds that native threads get to come to rest; half a second was enough in 30 of 30 runs."""


def end_process(code: int) -> NoReturn:
    """Flush what was printed and logged, give native threads `GRACE` seconds, end with exit code `code`.

    `atexit` functions don't run: close what must be closed (servers, temporary folders) before calling this.
    """
    for stream in (sys.stdout, sys.stderr):
        # A closed pipe (`sojourn … | head`) is no reason to lose the exit code.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    if "temporalio.bridge" in sys.modules:
        time.sleep(GRACE)
    logging.shutdown()
    os._exit(code & 0xFF)
