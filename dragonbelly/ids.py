"""
Version ids: ULIDs, 26 characters of Crockford's base 32, 48 bits of milliseconds and 80 of randomness.

Source: https://github.com/ulid/spec.  Order between versions never rests on them: it is the order of commits.
"""

from __future__ import annotations

import re
from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
PATTERN = r"[0-7][0-9A-HJKMNP-TV-Z]{25}"
_ULID = re.compile(PATTERN)

#: Two characters at a time: an id is made for each upload.
_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]


def ulid(seconds: float, random_bits: Callable[[int], int]) -> str:
    """The id for a moment; ``random_bits(80)`` gives a whole number below 2**80."""
    value = (int(seconds * 1000) & (1 << 48) - 1) << 80 | random_bits(80)
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(120, -1, -10)])


def created(id: str) -> float:
    """When the id was made, unix s."""
    value = 0
    for character in id[:10]:
        value = value << 5 | ALPHABET.index(character)
    return value / 1000


def is_ulid(text: str) -> bool:
    return _ULID.fullmatch(text) is not None
