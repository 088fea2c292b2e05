"""For all tests: hypothesis looks for mistakes, and not at the clock of a machine that others use, too."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=20_000)
settings.load_profile("any machine")
