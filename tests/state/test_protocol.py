"""What goes to Redis, byte by byte."""

from __future__ import annotations

import pytest
import txredisapi
from twisted.internet.task import Clock

from dragonbelly.state.protocol import Argument, RedisProtocol


@pytest.mark.parametrize(
    "command",
    [("PING",), ("SET", b"k\r\n\0\xff", "é"), ("EVALSHA", "", b"", 0, -5, 2**62, "x" * 100_000)],
)
def test_commands_are_written_as_txredisapi_writes_them(command: tuple[Argument, ...]) -> None:
    plain = txredisapi.RedisProtocol(charset=None)
    assert RedisProtocol(Clock(), 1.0)._build_command(*command) == plain._build_command(*command)


def test_what_is_no_text_is_not_written() -> None:
    with pytest.raises(UnicodeEncodeError):
        RedisProtocol(Clock(), 1.0)._build_command("GET", "\udcff")
