"""The contract on the backend that is a dictionary."""

from dragonbelly.backends.memory import MemoryBackend
from dragonbelly.model import Target
from dragonbelly.testing.backend import BackendContract


class TestMemoryBackend(BackendContract):
    def make_backend(self) -> MemoryBackend:
        self.made = MemoryBackend("memory")
        return self.made

    def stop_server(self) -> None:
        self.made.away = True

    def start_server(self) -> None:
        self.made.away = False

    def client_put(self, target: Target, data: bytes) -> int:
        self.made.client_put(target.url, data)
        return 201

    def client_get(self, url: str, bytes_range: tuple[int, int] | None = None) -> bytes:
        data = self.made.client_get(url)
        return data if bytes_range is None else data[bytes_range[0] : bytes_range[1] + 1]
