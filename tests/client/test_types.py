"""What a type checker says of programs that use the clients, which are written here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

#: What is wrong in it is marked, and a mark where nothing is wrong is an error, too.
PROGRAM = """
import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from twisted.internet.defer import Deferred

from dragonbelly.client import AsyncClient, AsyncReader, Client, Entry, File, TwistedClient, TwistedReader


async def pieces() -> AsyncIterator[bytes]:
    yield b"piece"


def blocking(client: Client) -> None:
    assert_type(client.put("a", b"bytes"), File)
    with open("file", "rb") as binary, open("file") as text:
        client.put("a", binary)
        client.put("a", text)  # type: ignore[arg-type]
    client.put("a", Path("file"))
    client.put("a", io.BytesIO(b"bytes"))
    client.put("a", (b"piece" for _ in range(3)))
    client.put("a", ["text"])  # type: ignore[list-item]
    client.put("a", "text")  # type: ignore[arg-type]
    client.put("a", 3)  # type: ignore[arg-type]
    client.put(b"a", b"bytes")  # type: ignore[arg-type]
    client.put("a", b"bytes", copys=3)  # type: ignore[call-arg]
    Client("http://media.example.com", timout=3)  # type: ignore[call-arg]
    assert_type(client.open("a"), io.BufferedReader)
    assert_type([entry.path for entry in client.list("a/")], list[str])
    assert_type(list(client.list("a/", "/")), list[Entry | str])


async def with_asyncio(client: AsyncClient, stream: asyncio.StreamReader) -> None:
    assert_type(await client.put("a", pieces()), File)
    await client.put("a", stream)
    assert_type([entry.path async for entry in client.list("a/")], list[str])
    async with await client.open("a") as reader:
        assert_type(reader, AsyncReader)
        assert_type(await reader.read(3), bytes)


async def with_twisted(client: TwistedClient) -> None:
    assert_type(client.put("a", pieces()), Deferred[File])
    assert_type(await client.open("a"), TwistedReader)
    assert_type([entry.path async for entry in client.list("a/")], list[str])
"""


@pytest.mark.parametrize("example", ["program", "readme"])
def test_programs_are_checked(example: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    file = program if example == "program" else ROOT / "examples/client/files.py"
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", file],
        cwd=ROOT,  # its cache is there
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
