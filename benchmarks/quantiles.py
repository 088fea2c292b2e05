"""What is made of many measured numbers.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], share: float) -> float:
    """
    The smallest of the values that ``share`` (0 to 1) of them do not exceed: always one that was measured.

    :raises ValueError: there are none.
    """
    if not values:
        raise ValueError("a quantile of nothing was asked for")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
