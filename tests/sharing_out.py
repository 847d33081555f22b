"""How the tests are shared out among workers (``-n``)."""

from __future__ import annotations

import functools
from pathlib import Path

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController


class SharedScheduling(LoadScopeScheduling):
    """Gives each test to the next free worker, but a file whose tests share a fixture to one worker as a whole.

    xdist's own groups are not used: the mark never reaches the scheduler where a test's id is not a plain string.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares_a_fixture(self.config.rootpath / file) else nodeid

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker more. It begins a test only when it has another one, or was told that there is none."""
        if node not in self.registered_collections:  # in the place of one that crashed, and still collecting
            return
        super()._reschedule(node)
        if self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)

    def remove_node(self, node: WorkerController) -> str | None:
        """Hand on what a worker that crashed had not begun; gives back the test that it crashed in, None for none.

        xdist's own way hands on all that the worker ever had, tests that are done included. A worker that is given
        nothing but such waits for ever, and the whole run with it. And it runs the test that crashed once more.
        """
        workload = self.assigned_work.pop(node)
        crashed = next((test for unit in workload.values() for test, is_done in unit.items() if not is_done), None)
        if crashed is None:
            return None
        workload[self._split_scope(crashed)][crashed] = True
        self.workqueue.update({scope: unit for scope, unit in workload.items() if not all(unit.values())})
        for other in self.nodes:
            self._reschedule(other)
        return crashed


@functools.cache
def _shares_a_fixture(file: Path) -> bool:
    return 'scope="module"' in file.read_text(encoding="utf-8")
