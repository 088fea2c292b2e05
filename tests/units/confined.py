"""
``python confined.py UNIT COMMAND...``: runs it with the system calls that a unit leaves it.

Only systemd as the first process of a machine runs units.  But what a unit says is forbidden by the kernel,
whoever asks for it: here it is libseccomp, by which systemd does it, too.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
EQUAL, MASKED = 4, 7  # SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ

PROT_WRITE, PROT_EXEC, SHM_EXEC = 2, 4, 0o100000

#: Address families that there are, at most.
FAMILIES = 64


class Condition(ctypes.Structure):
    """``scmp_arg_cmp`` of seccomp.h."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("one", ctypes.c_uint64),
        ("other", ctypes.c_uint64),
    )


seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
seccomp.seccomp_rule_add_array.argtypes = [
    *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint),
    ctypes.POINTER(Condition),
]


def settings(unit: Path, name: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.read_text().splitlines() if line.startswith(f"{name}=")]


def calls(group: str) -> Iterator[str]:
    """The system calls of a group such as ``@system-service``."""
    command = ["systemd-analyze", "syscall-filter", group]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    for word in (line.strip() for line in lines[1:]):
        if word.startswith("@"):
            yield from calls(word)
        elif word and not word.startswith("#"):
            yield word


def add(rules: int, action: int, call: str, *conditions: Condition) -> None:
    number = seccomp.seccomp_syscall_resolve_name(call.encode())
    if number < 0:
        return  # none of this architecture's
    array = (Condition * len(conditions))(*conditions)
    failed = seccomp.seccomp_rule_add_array(rules, action, number, len(conditions), array)
    assert failed == 0, (call, failed)


def confine(unit: Path) -> None:
    allowed = set(calls("@default"))
    for line in settings(unit, "SystemCallFilter"):
        named = {call for group in line.lstrip("~").split() for call in calls(group)}
        allowed = allowed - named if line.startswith("~") else allowed | named
    assert allowed > set(calls("@default")), f"{unit} filters nothing"
    only = seccomp.seccomp_init(REFUSE | errno.EPERM)
    for call in allowed:
        add(only, ALLOW, call)

    rest = seccomp.seccomp_init(ALLOW)
    if settings(unit, "MemoryDenyWriteExecute") == ["yes"]:
        both = PROT_WRITE | PROT_EXEC
        add(rest, REFUSE | errno.EPERM, "mmap", Condition(2, MASKED, both, both))
        add(rest, REFUSE | errno.EPERM, "mprotect", Condition(2, MASKED, PROT_EXEC, PROT_EXEC))
        add(rest, REFUSE | errno.EPERM, "pkey_mprotect", Condition(2, MASKED, PROT_EXEC, PROT_EXEC))
        add(rest, REFUSE | errno.EPERM, "shmat", Condition(2, MASKED, SHM_EXEC, SHM_EXEC))
    [families] = settings(unit, "RestrictAddressFamilies")
    for family in set(range(FAMILIES)) - {getattr(socket, name) for name in families.split()}:
        add(rest, REFUSE | errno.EAFNOSUPPORT, "socket", Condition(0, EQUAL, family, 0))

    for rules in (rest, only):  # the second forbids to ask for more
        assert seccomp.seccomp_load(rules) == 0, "the kernel takes no filter"


if __name__ == "__main__":
    confine(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
