"""``GET explain``, for operators: gathers what is known of a file, and has it explained."""

from __future__ import annotations

from dragonbelly.config.values import Config
from dragonbelly.errors import NotFound
from dragonbelly.events import Event
from dragonbelly.interfaces import IClock
from dragonbelly.ledger import Ledger
from dragonbelly.model import Path, Record
from dragonbelly.replication.plan import Plan, advance, demand
from dragonbelly.web.asked import Query, file_name
from dragonbelly.web.explain import Known, explain, subject
from dragonbelly.web.files import Domains, Files
from dragonbelly.web.message import Answer, Question, json_answer


class ExplainApi:
    """The resource ``explain?path=&domain=``.  It only looks: nothing is committed, no server is asked."""

    def __init__(self, ledger: Ledger, files: Files, domains: Domains, config: Config, clock: IClock) -> None:
        self._ledger = ledger
        self._files = files
        self._domains = domains
        self._policies = config.policies
        self._clock = clock

    async def answer(self, question: Question) -> Answer:
        """:raises NotFound: there is no record.  :raises BadRecord: it cannot be decoded."""
        query = Query(question, "path", "domain")
        path = Path(
            self._domains.asked(question, query.text("domain"), admin=True), file_name(query.text("path"))
        )
        record = (await self._ledger.read(path)).record
        if record is None or not record.versions:
            raise NotFound(
                f"there is no record of {path.name} in the domain {path.domain}: nothing was uploaded there, "
                "or it was deleted and nothing is left of it"
            )
        due = await self._ledger.store.due(path)
        return json_answer(explain(self._known(path, record, due)))

    def _known(self, path: Path, record: Record, due: float | None) -> Known:
        version, view = subject(record), self._ledger.cluster.view
        ruling = self._ledger.ruling(path, version)
        moves: list[Event] = []

        def make(record: Record) -> Plan:
            made = self._ledger.plan(path, record)
            moves.extend(made.moves)
            return made

        _, left = advance(record, make)
        return Known(
            path=path,
            record=record,
            cluster=view,
            ruling=ruling,
            policy=self._policies[ruling.policy],
            placement=self._ledger.policy(path, version).place(demand(version), view),
            moves=tuple(moves),
            plan=left,
            due=due,
            now=self._clock.seconds(),
            url=lambda replica: self._files.shown_url(path, version, replica),
        )
