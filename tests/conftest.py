"""One thread a process: the nets are tiny, and threads that wait for each other cost more.

And Ctrl-C as in a terminal: what runs in the background of a script has it ignored.
"""

import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium for the tests of a file; they are skipped where there is none."""
    from tests.browser import started

    with started() as running:
        yield running
