"""For all tests: hypothesis looks for mistakes, and not at the clock of a machine that others use, too."""

from __future__ import annotations

import signal

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=20_000)
settings.load_profile("any machine")

# What a shell starts in the background ignores Ctrl-C, and all that it starts itself inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
