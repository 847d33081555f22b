from __future__ import annotations

from workbench.paths import Workspace
from workbench.store.store import Store


def test_a_draft_outlives_the_program(workspace: Workspace) -> None:
    store = Store.open(workspace)
    store.drafts.save("chat:1", "half a thou")
    store.drafts.save("chat:1", "half a thought \ud83d")
    store.close()
    again = Store.open(workspace)
    assert again.drafts.get("chat:1") == "half a thought �"
    again.close()


def test_a_draft_that_was_sent_is_empty(store: Store) -> None:
    store.drafts.save("chat:1", "text")
    store.drafts.save("chat:2", "other")
    store.drafts.delete("chat:1")
    assert (store.drafts.get("chat:1"), store.drafts.get("chat:2")) == ("", "other")
