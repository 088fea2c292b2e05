"""The network that the chaos breaks really is broken by it, and whole again afterwards."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.integration.asking import eventually
from tests.servers.proxy import Proxy


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything back, until its client is done."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)

        def serve(connection: socket.socket) -> None:
            with closing(connection):
                try:
                    while data := connection.recv(65536):
                        connection.sendall(data)
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def heard(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return received(connection, len(data))


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(65536)):
        data += more
    return data


def nothing_comes(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        connection.recv(1)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(10)
    return False


def test_bytes_pass_however_many_there_are(proxy: Proxy) -> None:
    data = bytes(range(256)) * 40_000
    with connect(proxy) as connection:
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        assert received(connection, len(data)) == data
        sender.join()
    eventually("the pair is gone", lambda: not proxy.pairs)


def test_cut_resets_what_is_open_and_takes_new_ones(proxy: Proxy) -> None:
    with connect(proxy) as connection:
        assert heard(connection, b"before") == b"before"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with connect(proxy) as connection:
        assert heard(connection, b"after") == b"after"


def test_refuse(proxy: Proxy) -> None:
    with connect(proxy) as old:
        assert heard(old, b"1") == b"1"
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy)
        assert heard(old, b"2") == b"2"
        proxy.accept()
        with connect(proxy) as connection:
            assert heard(connection, b"again") == b"again"


@pytest.mark.parametrize("when", ["open", "new"])
def test_freeze_holds_everything_until_it_thaws(proxy: Proxy, when: str) -> None:
    if when == "new":
        proxy.freeze()
    with connect(proxy) as connection:
        if when == "open":
            assert heard(connection, b"before") == b"before"
            proxy.freeze()
        connection.sendall(b"held")
        assert nothing_comes(connection)
        proxy.thaw()
        assert received(connection, 4) == b"held"


def test_a_deaf_one_carries_what_is_asked_and_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        server.settimeout(10)
        proxy.deafen()
        with connect(proxy) as client, closing(server.accept()[0]) as end:
            client.sendall(b"asked")
            assert received(end, 5) == b"asked"
            end.sendall(b"answered")
            assert nothing_comes(client)
            proxy.thaw()
            assert received(client, 8) == b"answered"


def test_a_server_that_is_away_ends_the_connection(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        proxy.target = gone.getsockname()[1]
    with pytest.raises(ConnectionResetError), connect(proxy) as connection:
        connection.recv(1)


def test_close_leaves_nothing(echo: int) -> None:
    proxy = Proxy(echo).start()
    with connect(proxy) as connection:
        assert heard(connection, b"1") == b"1"
        proxy.close()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    eventually("the pair is gone", lambda: not proxy.pairs)
