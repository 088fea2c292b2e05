"""How many files and connections this process may have open."""

from __future__ import annotations

import resource

from dragonbelly.errors import StartError

#: Those that are no client's: log, Redis, storage servers, children.
OTHERS = 256


def allow(needed: int, why: str) -> None:
    """
    Have room for ``needed`` descriptors and ``OTHERS``.  ``why`` names the option that asks for so many.

    :raises StartError: the system does not give so many.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed + OTHERS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):
        raise StartError(
            f"{why} takes up to {wanted} open files, and this process may have {hard if hard >= 0 else soft}: "
            "lower it, or raise the limit (systemd: LimitNOFILE; a shell: ulimit -Hn)"
        ) from None
