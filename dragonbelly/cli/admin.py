"""The admin API: one question, and its answer as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from dragonbelly.client.blocking import BlockingWire, run
from dragonbelly.client.core import Core
from dragonbelly.client.errors import Error, NotFound

#: What the public listener says of whatever is for operators.
NO_RESOURCE = "the API has no such resource"


class Admin(Core):
    """
    An admin listener.  Nothing is tried twice: an operator wants to see what is.  ``chosen`` is the domain that
    was asked for: most of the admin API has none.
    """

    def __init__(self, url: str, token: str | None = None, domain: str | None = None) -> None:
        self.chosen = domain
        super().__init__(BlockingWire(), url, token=token, retries=0)

    def ask(
        self,
        method: str,
        resource: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """
        :raises Unavailable: it does not answer, or not now.
        :raises Error: it says no, is no daemon, or another listener of one.
        """
        try:
            answer = run(self._ask(method, resource, body=body, query=query, again=False, also=(202,)))
        except NotFound as error:
            if error.message != NO_RESOURCE:
                raise
            raise Error(
                f"a daemon answers at {self.url}, but this is not its admin listener, which has another port: "
                f"8081, unless [http] admin says otherwise",
                status=error.status,
            ) from None
        return self._json(answer) if answer.body else None

    def close(self) -> None:
        run(self.wire.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def as_json(value: Any, indent: int | None = 2) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)
