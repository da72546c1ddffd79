"""Messages set aside whose number cannot be read, and which missing numbers of their lane they explain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from consumer.applier.lane_merge import Item, LaneMerge

_OPEN: Final = 2**63
"""Above every number."""


@dataclass(slots=True)
class _Run:
    """Unnumbered messages of one partition with no numbered message between them, the last of them at `offset`.

    `ceiling` is the number of the next message behind them; their own ones, if they had any, are smaller.
    """

    partition: int
    offset: int
    count: int
    ceiling: int = _OPEN


class UnnumberedMessages:
    """An unnumbered message explains one number, which lies between those of its neighbours in its partition.

    As soon as the lane is past the next message behind it, whatever number it had was not missed. So what is kept is
    bounded by the messages that the lane holds.
    """

    __slots__ = ("_runs",)

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __bool__(self) -> bool:
        return bool(self._runs)

    def add(self, merge: LaneMerge[Item], partition: int, offset: int) -> None:
        """An unnumbered message lies at `offset`."""
        self.find_ceilings(merge)
        for run in self._runs:
            if run.partition == partition and run.ceiling == _OPEN:
                if offset > run.offset:
                    run.offset = offset
                    run.count += 1
                return
        self._runs.append(_Run(partition, offset, 1))

    def find_ceilings(self, merge: LaneMerge[Item]) -> None:
        """Looks for the messages behind unnumbered messages, before they are taken out of the merge."""
        for run in self._runs:
            if run.ceiling == _OPEN:
                run.ceiling = min(merge.held_behind(run.partition, run.offset), default=_OPEN)
        self._runs = [run for run in self._runs if run.count and run.ceiling >= merge.next_seq]

    def dropped(self, number: int) -> None:
        """This number was no number of the lane's."""
        for run in self._runs:
            if run.ceiling == number:
                run.ceiling = _OPEN

    def explain(self, merge: LaneMerge[Item], numbers: int) -> int:
        """How many numbers missing before the next one held are explained; what explains them explains no others."""
        self.find_ceilings(merge)
        left = numbers
        for run in sorted(self._runs, key=lambda run: run.ceiling):
            if merge.holds_before(run.partition, run.offset):
                continue
            used = min(left, run.count)
            run.count -= used
            left -= used
        return numbers - left
