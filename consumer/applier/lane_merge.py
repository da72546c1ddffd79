"""In-order merge of one lane: four partitions in, the binlog's order out.

A lane numbers its messages without gaps, over all its topics. Taking whichever message carries the next number gives
the binlog's order whatever order Kafka delivers in. Pure: no Kafka here, only numbers and items.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, TypeVar

Item = TypeVar("Item")


class LaneMerge(Generic[Item]):
    """One lane's messages in order, and those that arrived ahead of their turn.

    `partitions` is how many partitions the lane has (0 … partitions - 1), `next_seq` the number that is due, `offsets`
    per partition where its next message lies (None: from its beginning), `limit` how many items a partition may hold
    before it counts as full. The caller pauses a full partition and resumes it when it is `roomy` again, so that
    memory is bounded by partitions x (limit + one fetch).
    """

    __slots__ = ("_counts", "_held", "_limit", "_tails", "next_seq", "offsets")

    def __init__(self, next_seq: int, offsets: list[int | None], limit: int) -> None:
        self.next_seq = next_seq
        self.offsets = offsets
        self._limit = limit
        self._held: dict[int, tuple[int, int, Item]] = {}
        self._counts = [0] * len(offsets)
        self._tails: list[int | None] = [None] * len(offsets)

    def __len__(self) -> int:
        """Items held, all partitions together."""
        return len(self._held)

    def push(self, partition: int, seq: int, offset: int, item: Item) -> bool:
        """Takes a message in; False where its number was taken already, and nothing changes but the offset."""
        if seq < self.next_seq or seq in self._held:
            self.pass_over(partition, offset)
            return False
        self._held[seq] = (partition, offset, item)
        self._counts[partition] += 1
        return True

    def pass_over(self, partition: int, offset: int) -> None:
        """A message without a number lies at `offset`: it is behind us as soon as all before it are."""
        if self._counts[partition]:
            self._tails[partition] = offset + 1
        else:
            self.offsets[partition] = max(offset + 1, self.offsets[partition] or 0)

    def pop(self, limit: int) -> list[Item]:
        """Up to `limit` items in order, as far as there is no gap."""
        items: list[Item] = []
        take = self._held.pop
        counts = self._counts
        offsets = self.offsets
        for seq in range(self.next_seq, self.next_seq + limit):
            entry = take(seq, None)
            if entry is None:
                break
            partition, offset, item = entry
            counts[partition] -= 1
            offsets[partition] = offset + 1
            items.append(item)
        self.next_seq += len(items)
        if items:
            self._settle_tails()
        return items

    def _settle_tails(self) -> None:
        for partition, tail in enumerate(self._tails):
            if tail is not None and not self._counts[partition]:
                self.offsets[partition] = max(tail, self.offsets[partition] or 0)
                self._tails[partition] = None

    @property
    def ready(self) -> bool:
        """Whether the next number is here."""
        return self.next_seq in self._held

    def full(self, partition: int) -> bool:
        """Whether the partition ran so far ahead that it has to be paused."""
        return self._counts[partition] >= self._limit

    def roomy(self, partition: int) -> bool:
        """Whether a paused partition may be resumed."""
        return self._counts[partition] * 2 <= self._limit

    def waits_for(self) -> list[int]:
        """The partitions that may still bring the next number; empty where it is here or nothing is held at all."""
        if not self._held or self.ready:
            return []
        return [partition for partition, count in enumerate(self._counts) if not count]

    def lost(self, past: Collection[int]) -> int:
        """How many numbers can no longer arrive, when the partitions in `past` are known to hold none of them.

        A partition of which something is held is past every smaller number, because numbers rise in a partition.
        """
        if not self._held or self.ready or any(partition not in past for partition in self.waits_for()):
            return 0
        return min(self._held) - self.next_seq

    def held_behind(self, partition: int, offset: int) -> list[int]:
        """Numbers held of the partition's messages that lie behind `offset`."""
        if not self._counts[partition]:
            return []
        return [seq for seq, (of, at, _) in self._held.items() if of == partition and at > offset]

    def holds_before(self, partition: int, offset: int) -> bool:
        """Whether any of the partition's messages before `offset` is held."""
        return len(self.held_behind(partition, offset)) < self._counts[partition]

    def held(self, seq: int) -> Item | None:
        """The item held with this number."""
        entry = self._held.get(seq)
        return None if entry is None else entry[2]

    @property
    def top(self) -> int:
        """The largest number held; of a merge that holds something."""
        return max(self._held)

    def beyond(self, seq: int, limit: int) -> list[tuple[int, int, int]]:
        """Up to `limit` items held with this number or a larger one: (number, partition, offset)."""
        found = ((number, *entry[:2]) for number, entry in self._held.items() if number >= seq)
        return sorted(found)[:limit]

    def drop(self, seq: int) -> Item:
        """Takes out an item held, as if it had carried no number."""
        partition, offset, item = self._held.pop(seq)
        self._counts[partition] -= 1
        self._tails[partition] = max(self._tails[partition] or 0, offset + 1)
        self._settle_tails()
        return item

    def skip(self, numbers: int) -> None:
        """Goes on behind `numbers` numbers that are lost."""
        self.next_seq += numbers
