"""Which tests one worker runs one after the other: those that share what is long in setting up.

pytest-xdist's own groups (`--dist loadgroup`) hang a name on a test's id, which pytest 9 does not let it do: they group
nothing. So the scheduler asks here, by the ids alone.
"""

from __future__ import annotations

import re
from typing import Final

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

SHARED: Final = (
    "tests/integration/binlog/test_cascades.py",
    "tests/integration/binlog/test_network.py",
    "tests/integration/binlog/test_positions.py",
    "tests/integration/binlog/test_xa.py",
    "tests/integration/doctor/test_attribution.py",
    "tests/integration/doctor/test_mysql.py",
    "tests/integration/observe/",
    "tests/integration/reader/audit/test_audit_xa.py",
    "tests/integration/reader/test_lost_checkpoint.py",
    "tests/integration/reconciler/web/test_page.py",
    "tests/integration/security/test_fortress.py",
    "tests/integration/security/test_mariadb.py",
    "tests/integration/store/test_pooler.py",
    "tests/integration/test_demo.py",
    "tests/integration/test_kubernetes.py",
    "tests/servers/own/test_private.py",
)
"""Files, and folders, whose tests share a fixture; and those marked `prepared`, which meet each other on one server."""
_SERVER: Final = re.compile(r"\[(mysql|mariadb)\b")


class Grouped(LoadScopeScheduling):
    """Gives whole groups to workers; a test that is in none is a group of its own."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def remove_node(self, node: WorkerController) -> str | None:
        """What a worker was at when it died, which is not tried again: it would end the next one, too."""
        groups = self.assigned_work[node].values()
        left = [(group, test) for group in groups for test, is_done in group.items() if not is_done]
        if left:
            group, test = left[0]
            group[test] = True
        super().remove_node(node)
        return left[0][1] if left else None

    def _reschedule(self, node: WorkerController) -> None:
        """A worker begins its last test only when it knows that no other comes; of one that replaces another, nothing
        that happens would tell it later."""
        if node not in self.registered_collections:
            return  # it replaces another, and has its turn when it has collected
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue and not node.shutting_down:
            node.shutdown()


def group_of(nodeid: str) -> str:
    """The group of a test: that of its file and server, or its own id."""
    path = nodeid.partition("::")[0]
    for shared in SHARED:
        if nodeid.startswith(shared):
            server = _SERVER.search(nodeid)
            return f"{path if shared.endswith('.py') else shared} {server[1] if server else ''}"
    return nodeid
