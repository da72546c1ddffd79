"""Random changes of the three tables, small and large transactions, for as long as it takes."""

from __future__ import annotations

import random
import threading

from tests.integration.reader.world import ReaderWorld


class Load(threading.Thread):
    """Writes until told to end; `sizes` are the statements of a transaction to choose from."""

    def __init__(
        self,
        world: ReaderWorld,
        seed: int = 7,
        sizes: tuple[int, ...] = (1, 1, 1, 2, 5, 300),
        pause_seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self._world = world
        self._choose = random.Random(seed)
        self._sizes = sizes
        self._pause = pause_seconds
        self._ended = threading.Event()

    def run(self) -> None:
        """The thread itself."""
        with self._world.connection() as connection, connection.cursor() as cursor:
            while not self._ended.wait(self._pause):
                cursor.execute("BEGIN")
                for _ in range(self._choose.choice(self._sizes)):
                    cursor.execute(self._statement())
                cursor.execute("COMMIT")

    def end(self) -> None:
        """Ends it with a whole transaction."""
        self._ended.set()
        self.join()

    def _statement(self) -> str:
        user, claim = self._choose.randint(1, 40), self._choose.randint(1, 80)
        flip = "ON DUPLICATE KEY UPDATE is_enabled = NOT is_enabled"
        return self._choose.choice(
            [
                f"INSERT INTO users (id) VALUES ({user}) {flip}",
                f"REPLACE INTO claims (id, user_id, status) VALUES ({claim}, {user}, 'open')",
                f"UPDATE claims SET user_id = {user} WHERE id = {claim}",
                f"UPDATE claims SET status = 'cancelled' WHERE user_id = {user}",
                f"INSERT INTO claim_requirements (id, claim_id, status) VALUES (UUID(), {claim}, 'pending')",
                f"UPDATE claim_requirements SET status = 'approved' WHERE claim_id = {claim}",
                f"DELETE FROM claim_requirements WHERE claim_id = {claim}",
                f"DELETE FROM claims WHERE id = {claim}",
                f"DELETE FROM users WHERE id = {user}",
            ]
        )
