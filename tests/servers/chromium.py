"""A headless Chromium for a test, driven by chromedriver (WebDriver, https://www.w3.org/TR/webdriver2/)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.servers.ports import free_port
from tests.servers.process import ServerProcess

#: The name under which WebDriver hands out elements.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Chromium(ServerProcess):
    """One window.  Elements are found by CSS selectors."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()
        self._session: str | None = None

    def start(self) -> Self:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_program("chromedriver"), f"--port={self.port}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "HOME": str(self.directory), "TMPDIR": str(self.directory)},
                # Its own, so that the browser ends with it, whatever happens.
                process_group=0,
            )
        self.wait_until_it_answers(30)
        arguments = ["--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {"binary": _program("chromium"), "args": arguments}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"pageLoad": 30_000, "script": 30_000},
        }
        answer = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = answer["sessionId"]
        return self

    def answers(self) -> bool:
        try:
            return bool(self._ask("GET", "/status")["ready"])
        except OSError:
            return False

    def close(self) -> None:
        if self.process is not None:
            try:
                if self._session is not None:
                    self._ask("DELETE", f"/session/{self._session}")
            finally:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(20)
                self.process = None
        super().close()

    # --- what a person does

    def open(self, url: str) -> None:
        self._do("POST", "/url", {"url": url})

    @property
    def url(self) -> str:
        return str(self._do("GET", "/url"))

    def type(self, selector: str, text: str) -> None:
        self._do("POST", f"/element/{self._element(selector)}/value", {"text": text})

    def choose(self, selector: str, file: Path) -> None:
        """A file, in an input for files."""
        self.type(selector, str(file))

    def click(self, selector: str) -> None:
        self._do("POST", f"/element/{self._element(selector)}/click", {})

    # --- what the page says

    def run(self, script: str, *arguments: object) -> Any:
        """What the body of a function returns."""
        return self._do("POST", "/execute/sync", {"script": script, "args": arguments})

    def said(self) -> list[str]:
        """What is in its console since this was asked last."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def _element(self, selector: str) -> str:
        found = self._do("POST", "/element", {"using": "css selector", "value": selector})
        return str(found[ELEMENT])

    def _do(self, method: str, command: str, value: object = None) -> Any:
        return self._ask(method, f"/session/{self._session}{command}", value)

    def _ask(self, method: str, path: str, value: object = None) -> Any:
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()[:2000]}") from None


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not on PATH: install the Debian package of Chromium's driver")
    return found
