"""Desks of the simulated company that do what the demo's do, and on demand something out of the ordinary."""

from __future__ import annotations

from tests.demo.desk import Desk, Draft

_STATEMENTS_BEFORE_PAUSE = 20


class ChaosDesk(Desk):
    """Writes one transaction of very many customers, with a pause in its middle, where `long` asks for it."""

    long: tuple[int, float] | None = None
    """How many customers the next transaction touches, and how long (s) it rests in the middle."""

    def next(self) -> Draft:
        """The next transaction, which fits what was committed so far."""
        if self.long is None:
            return super().next()
        (customers, seconds), self.long = self.long, None
        return self._long(customers, seconds)

    def _long(self, customers: int, seconds: float) -> Draft:
        draft = Draft("long")
        touched: set[int] = set()
        actions = (self.sign, self.approve_all, self.cancel, self.ask, self.unsign, self.reopen)
        for _ in range(4 * customers):
            part = Draft("part")
            if not self.random.choice(actions)(part):
                continue
            whose = {self._owner(step) for step in part.steps}
            if not whose & touched:  # a second change of one customer would not know of the first
                touched |= whose
                draft.statements += part.statements
                draft.steps += part.steps
            if len(touched) >= customers:
                break
        draft.statements.insert(_STATEMENTS_BEFORE_PAUSE, f"DO SLEEP({seconds})")
        return draft
