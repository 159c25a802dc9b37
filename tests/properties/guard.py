"""A guard by its rule (tests/guard/rule.txt) on a store, which can be stopped between its look and its patch."""

from __future__ import annotations

from collections.abc import Callable

from metalfoundry.lab.kubernetes.api_server import MemoryStore
from metalfoundry.lab.kubernetes.store import Invalid, Object
from metalfoundry.transport.clock import FakeClock
from tests.guard.rule import verdict
from tests.sweeping import FLUX, KEPT

OURS = "metalfoundry.dev/"
Wrote = Callable[[str, str, float, Object, Object], None]


class PlayedGuard:
    """One guard of anvil. `workflow(run)` gives uid and state of its Workflow; `wrote(verdict, run, age, before,
    after)` is told each patch that was applied. `known`: run and renewal as last seen.
    """

    def __init__(
        self, store: MemoryStore, clock: FakeClock, workflow: Callable[[str], tuple[str, str]], wrote: Wrote
    ) -> None:
        self._store, self._clock, self._workflow, self._wrote = store, clock, workflow, wrote
        self.known = ("", "")
        self._since = clock.now().mono
        self._planned: tuple[str, str, float, list[Object]] | None = None

    def passes(self) -> None:
        """Look and patch until nothing is left to do."""
        for _ in range(4):
            self.look()
            if not self.patch():
                return

    def look(self) -> None:
        """Read, decide, and prepare the patch."""
        obj, now = self._store.get("hardware", "anvil"), self._clock.now().mono
        notes = obj["metadata"].get("annotations") or {}
        run, renewal = notes.get(OURS + "run", ""), notes.get(OURS + "renewal", "")
        if (run, renewal) != self.known:
            self._since = now
        workflow = notes.get(OURS + "workflow", "")
        uid, state = self._workflow(run)
        netboot = obj["spec"]["interfaces"][0].get("netboot") or {}
        seen = {
            "run": run, "known": self.known[0], "flux": notes.get(OURS + "flux", ""), "ending": "",
            "open": "0" if netboot.get("allowPXE") else "", "age": str(int(now - self._since)),
            "lease": notes.get(OURS + "lease", "600"), "workflow": workflow,
            "uid": notes.get(OURS + "workflow-uid", ""), "until": notes.get(OURS + "until", ""), "boot": "",
            "wf_uid": uid, "wf_state": state, "wf_action": "",
        }  # fmt: skip
        found = verdict(seen)
        operations = self._operations(found, notes, renewal, bool(seen["open"]))
        tests = [{"op": "test", "path": "/metadata/resourceVersion", "value": obj["metadata"]["resourceVersion"]}]
        self._planned = (found, run, now - self._since, [*tests, *operations]) if operations else None
        if found != "close-claim-gone":
            self.known = (run, renewal)

    def patch(self) -> bool:
        """Apply what was prepared, once; say whether it was taken."""
        planned, self._planned = self._planned, None
        if planned is None:
            return False
        found, run, age, operations = planned
        before = self._store.get("hardware", "anvil")
        try:
            after = self._store.patch("hardware", "anvil", operations)
        except Invalid:
            return False
        self._wrote(found, run, age, before, after)
        return True

    def _operations(self, found: str, notes: dict[str, str], renewal: str, opened: bool) -> list[Object]:
        operations: list[Object] = []
        if opened and found.startswith(("close-", "end-", "shut-")):
            paths = [f"/spec/interfaces/0/netboot/{key}" for key in ("allowPXE", "allowWorkflow")]
            operations += [{"op": "add", "path": path, "value": False} for path in paths]
        if found.startswith(("end-", "unpause")):
            ours = [key for key in notes if key.startswith(OURS) and key not in KEPT]
            operations += [{"op": "remove", "path": _note(key)} for key in ours]
            was = notes.get(OURS + "flux", "")
            if was and notes.get(FLUX) == "disabled":
                back = {"op": "remove"} if was == "absent" else {"op": "add", "value": was}
                operations.append(back | {"path": _note(FLUX)})
        word = f"played@jump {notes.get(OURS + 'run')} {renewal} {'holds' if found == 'keep' else found}"
        if found.startswith(("keep", "shut-")) and notes.get(OURS + "guard") != word:
            operations.append({"op": "add", "path": _note(OURS + "guard"), "value": word})
        return operations


def _note(key: str) -> str:
    return "/metadata/annotations/" + key.replace("/", "~1")
