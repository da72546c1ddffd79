"""Caseloads of the simulated company that do what the demo's do, and on demand something out of the ordinary."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.demo.caseload import Caseload, Customer, Draft

_STATEMENTS_BEFORE_PAUSE: Final = 20


class Long(NamedTuple):
    """A transaction to be: so many customers at least, which rests for so many seconds in its middle."""

    customers: int
    seconds: float


class Full(NamedTuple):
    """A transaction to be: at least so many rows, all in this one of the lanes, with a rest of so many seconds."""

    rows: int
    seconds: float
    lane: int
    lanes: int

    def holds(self, user_id: int) -> bool:
        """Whether this customer's rows go there."""
        return zlib.crc32(b"%d" % user_id) % self.lanes == self.lane


class ChaosCaseload(Caseload):
    """Writes one transaction that is large and slow where `wanted` asks for it."""

    wanted: Long | Full | None = None
    """What the next transaction is to be."""
    _before_us: Customer | None = None
    """The only one who can be found, where one is given."""

    def next(self) -> Draft:
        """The next transaction, which fits what was committed so far."""
        wanted, self.wanted = self.wanted, None
        if wanted is None:
            return super().next()
        draft = self._long(wanted.customers) if isinstance(wanted, Long) else self._full(wanted)
        draft.statements.insert(_STATEMENTS_BEFORE_PAUSE, f"DO SLEEP({wanted.seconds})")
        return draft

    def _long(self, customers: int) -> Draft:
        draft = Draft("long")
        touched: set[int] = set()
        for _ in range(4 * customers):
            part = Draft("part")
            if not self._anything(part):
                continue
            whose = {self._owner(step) for step in part.steps}
            if not whose & touched:  # a second change of one customer would not know of the first
                touched |= whose
                draft.statements += part.statements
                draft.steps += part.steps
            if len(touched) >= customers:
                break
        return draft

    def _full(self, wanted: Full) -> Draft:
        """Something happens to everybody in the lane, and then documents are asked for until there are rows enough."""
        draft = Draft("full")
        served = [one for one in self.customers.values() if wanted.holds(one.id)]
        for customer in served:
            self._with(customer, self._anything, draft)
        able = [customer for customer in served if customer.claims]
        while able and len(draft.steps) < wanted.rows:
            self._with(self.random.choice(able), self.ask, draft)
        return draft

    def _anything(self, draft: Draft) -> bool:
        actions = (self.sign, self.approve_all, self.cancel, self.ask, self.unsign, self.reopen)
        return self.random.choice(actions)(draft)

    def _with(self, customer: Customer, action: Callable[[Draft], bool], draft: Draft) -> None:
        self._before_us = customer
        action(draft)
        self._before_us = None

    def _find(self, fits: Callable[[Customer], bool]) -> Customer | None:
        if self._before_us is None:
            return super()._find(fits)
        return self._before_us if fits(self._before_us) else None
