"""The step that gave votes their details and rounds their tables: what was voted on before counts as it did."""

from __future__ import annotations

from samples import generation, user
from workbench.domain.comparisons import ModelIdentity, RaterKind, Score
from workbench.paths import Workspace
from workbench.store.rows import generation_json, turns_json
from workbench.store.store import Store, _numbers_masked

STEP = "0008_votes_and_rounds"


def test_votes_from_before_the_step_count_as_they_did(workspace: Workspace) -> None:
    with _numbers_masked():
        from sqlite_utils import Database

        from workbench.store.migrations import MIGRATIONS
    workspace.root.mkdir(parents=True)
    before = Database(str(workspace.database))
    MIGRATIONS.apply(before, stop_before=STEP)
    told = generation_json(generation("pip"))
    for number, verdict in enumerate(("left", "right", "tie"), start=1):
        before.execute(
            "INSERT INTO comparisons VALUES (?, ?, 'pip', 'one', ?, 'tuned', 'two', ?, 1, 0, 7, '2026-01-01')",
            [number, turns_json(user("why?")), told, told],
        )
        before.execute(
            "INSERT INTO ratings VALUES (NULL, ?, ?, 'ann', 'because', 900, '2026-01-02', 0, 1, NULL)",
            [number, verdict],
        )
    before.conn.commit()
    before.close()
    store = Store.open(workspace)
    assert store.comparisons.scores() == [Score("pip", "tuned", 1, 1, 1, 0)]
    (kept,) = store.comparisons.ratings(1)
    assert (kept.kind, kept.strength, dict(kept.rubric), kept.live) == (RaterKind.HUMAN, None, {}, False)
    assert store.comparisons.get(1).a.identity == ModelIdentity()
    assert store.comparisons.next_unrated("bob", order="differing") == store.comparisons.get(1)
    assert store.rounds.adopt() is None
