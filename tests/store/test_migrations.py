"""The step from the first schema: rows of an older workspace keep their meaning, their hashes and their history."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from samples import candidate, user
from workbench.domain.chats import Role, Sampling, Turn
from workbench.domain.comparisons import Verdict
from workbench.domain.decisions import Action
from workbench.domain.examples import (
    Content,
    Kind,
    NewExample,
    Source,
    SourceKind,
    Status,
    demonstration,
    preference,
)
from workbench.domain.models import ModelKind
from workbench.domain.queries import parse_query
from workbench.domain.runs import RECIPE, RunSpec
from workbench.paths import Workspace
from workbench.store.store import Store, _numbers_masked

GROUPS = "0009_groups_of_runs"
SECOND = "0002_imports_findings_views"
FIRST_INDEXES = (
    "examples_live ON examples(id)",
    "examples_status ON examples(status, dataset_id)",
    "examples_dataset ON examples(dataset_id, status, kind)",
)
MODELS_ADDED = """CREATE TRIGGER example_models_added AFTER INSERT ON examples BEGIN
    INSERT INTO example_models SELECT new.id, value FROM json_each(new.source, '$.models');
END"""
ADDED = ("tools", "import_id", "words", "turns", "lang")


@pytest.fixture
def old(workspace: Workspace) -> Workspace:
    """A workspace as the first release left it: two examples, one edited and one deleted."""
    pair = preference([Turn("user", "two plus two")], "four of course", "five")
    shown = demonstration([Turn("system", "Be brief."), Turn("user", "hello")], "good day")
    store = Store.open(workspace)
    source = Source(SourceKind.IMPORT, file="a.jsonl", line=1)
    by_chat = Source(SourceKind.CHAT_KEEP, chat_id=1, models=("pip",))
    store.examples.add("d", pair, source=by_chat, status=Status.ACCEPTED, rater="r", tags=("t",))
    second, _ = store.examples.add("d", shown, source=source, status=Status.PENDING, rater="r")
    edited = demonstration([Turn("system", "Be brief."), Turn("user", "hello")], "good morning to you")
    store.examples.change([second.id], Action.EDIT, rater="r", content=edited)
    talk = store.chats.create(title="old talk", system="", model="pip", sampling=Sampling())
    store.chats.add_message(talk.id, parent_id=None, role=Role.USER, content="two plus two")
    store.models.add("pip", ModelKind.BASE, "/models/pip")
    store.close()
    _take_back_to_first_schema(workspace.database)
    return workspace


def _take_back_to_first_schema(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("DROP TRIGGER example_models_changed")
    _take_back_hashes(db)
    db.execute("DROP TABLE example_models")
    for index in ("facts", "counts", "dataset_ids", "kind", "noted", "import"):
        db.execute(f"DROP INDEX examples_{index}")
    for index in FIRST_INDEXES:
        db.execute(f"CREATE INDEX {index} WHERE deleted_utc IS NULL")
    for table in ("imports", "findings", "redactions", "views", "example_scores"):
        db.execute(f"DROP TABLE {table}")
    for column in ADDED:
        db.execute(f"ALTER TABLE examples DROP COLUMN {column}")
    for row_id, before, after in db.execute("SELECT id, before, after FROM decisions WHERE action = 'edit'").fetchall():
        texts = [json.loads(text) for text in (before, after)]
        for fields in texts:
            del fields["content"]["tools"]
        db.execute("UPDATE decisions SET before = ?, after = ? WHERE id = ?", [*map(json.dumps, texts), row_id])
    for table in ("removed_models", "round_pairs", "rounds", "undone_groups"):
        db.execute(f"DROP TABLE {table}")
    db.execute("DROP INDEX comparisons_repeats")
    db.execute("DROP INDEX answers_edited_from")
    for name in ("edited_from", "given"):
        db.execute(f"ALTER TABLE answers DROP COLUMN {name}")
    for name in ("kind", "strength", "rubric", "live"):
        db.execute(f"ALTER TABLE ratings DROP COLUMN {name}")
    for name in ("a_identity", "b_identity", "example_id", "tags", "difference", "repeat_of", "repeat_for", "chosen"):
        db.execute(f"ALTER TABLE comparisons DROP COLUMN {name}")
    chats = ("archived_utc", "deleted_utc", "imported_utc")
    for table, column in (*(("chats", name) for name in chats), ("models", "key_source")):
        db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    for table in ("presets", "batch_prompts", "batches"):
        db.execute(f"DROP TABLE {table}")
    for name in ("blind", "replaces"):
        db.execute(f"ALTER TABLE ratings DROP COLUMN {name}")
    _take_back_groups(db)
    db.execute("DELETE FROM _sqlite_migrations WHERE name >= ?", [SECOND])
    db.commit()
    db.close()


def _take_back_hashes(db: sqlite3.Connection) -> None:
    for trigger in ("changed", "removed"):
        db.execute(f"DROP TRIGGER example_hashes_{trigger}")
    db.execute("DROP TABLE example_hashes")
    db.execute("CREATE INDEX examples_hash ON examples(dataset_id, hash)")


def _take_back_groups(db: sqlite3.Connection) -> None:
    db.execute("DROP INDEX runs_group")
    for name in ("group_name", "group_kind"):
        db.execute(f"ALTER TABLE runs DROP COLUMN {name}")


def test_a_run_from_before_there_were_groups_is_in_none(workspace: Workspace) -> None:
    spec = RunSpec("r", "sft", "pip", "/pip", "d", {}, 1, 0, "", group="g", group_kind=RECIPE)
    store = Store.open(workspace)
    store.runs.add(spec, "/runs/1-r")
    store.close()
    db = sqlite3.connect(workspace.database)
    _take_back_groups(db)
    db.execute("DELETE FROM _sqlite_migrations WHERE name = ?", [GROUPS])
    db.commit()
    db.close()
    again = Store.open(workspace)
    (old,) = again.runs.list()
    assert (old.name, old.group, old.group_kind) == ("r", "", "")
    new = again.runs.add(spec, "/runs/2-r")
    assert (new.group, new.group_kind) == ("g", RECIPE)
    again.close()


def test_the_first_schema_is_what_the_fixture_leaves(old: Workspace, tmp_path: Path) -> None:
    with _numbers_masked():
        from sqlite_utils import Database

        from workbench.store.migrations import MIGRATIONS
    fresh = Database(str(tmp_path / "fresh.db"))
    MIGRATIONS.apply(fresh, stop_before=SECOND)
    names = "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name"
    columns = "SELECT name FROM pragma_table_info('examples')"
    left = sqlite3.connect(old.database)
    for sql in (names, columns):
        assert left.execute(sql).fetchall() == fresh.conn.execute(sql).fetchall()


def test_an_old_workspace_opens_with_its_rows_measured(old: Workspace) -> None:
    store = Store.open(old)
    pair, shown = store.examples.list(parse_query(""))
    assert pair.content == preference([Turn("user", "two plus two")], "four of course", "five")
    assert pair.tags == ("t",) and pair.status is Status.ACCEPTED
    # "two plus two" + "four of course" are six words in two turns; the other has "Be brief.", "hello" and four more.
    assert list(store.examples.ids(parse_query("len<7"))) == [pair.id]
    assert list(store.examples.ids(parse_query("len=7 turns=3"))) == [shown.id]
    assert list(store.examples.ids(parse_query("refund"))) == []
    assert list(store.examples.ids(parse_query("morning"))) == [shown.id]
    assert list(store.examples.ids(parse_query("model:pip"))) == [pair.id]


def test_the_chats_and_models_of_an_old_workspace_are_where_they_were(old: Workspace) -> None:
    store = Store.open(old)
    (talk,) = store.chats.list()
    assert (talk.title, talk.archived) == ("old talk", False) and store.chats.discarded() == []
    assert [hit.text for hit in store.chats.hits(["plus"])] == ["two plus two"]
    assert store.models.get("pip").key_source == "" and store.models.get("pip").endpoint is None
    assert store.presets.list() == []


def test_a_row_of_an_old_workspace_is_not_imported_twice(old: Workspace) -> None:
    store = Store.open(old)
    again = preference([Turn("user", "two plus two")], "four of course", "five")
    found, is_new = store.examples.add("d", again, source=Source(SourceKind.IMPORT), status=Status.PENDING, rater="r")
    assert not is_new and found.status is Status.ACCEPTED


def test_an_edit_made_before_the_step_can_be_undone_after_it(old: Workspace) -> None:
    store = Store.open(old)
    assert store.examples.undo("r") is not None
    assert store.examples.list(parse_query(""))[1].answer_text == "good day"
    assert store.examples.redo("r") is not None
    assert store.examples.list(parse_query(""))[1].answer_text == "good morning to you"


def test_turns_with_tool_calls_and_tools_come_back_as_they_went_in(workspace: Workspace) -> None:
    store = Store.open(workspace)
    call = Turn("assistant", "", '{"tool_calls":[{"function":{"arguments":{"n":2},"name":"add"},"type":"function"}]}')
    tools = '[{"function":{"name":"add"},"type":"function"}]'
    content = Content(
        Kind.DEMONSTRATION,
        (Turn("user", "add"),),
        (call, Turn("tool", "4", '{"name":"add"}'), Turn("assistant", "It is 4.")),
        tools=tools,
    )
    content.check()
    made, _ = store.examples.add("d", content, source=Source(SourceKind.IMPORT), status=Status.PENDING, rater="r")
    assert store.examples.get(made.id).content == content
    assert list(store.examples.ids(parse_query("add len=7"))) == [made.id]  # add, add({"n":, 2}), 4, It, is, 4.


def test_the_hash_of_content_without_tools_is_what_it_was() -> None:
    content = demonstration([Turn("user", "hello")], "good day")
    canonical = (
        '{"chosen":[{"content":"good day","role":"assistant"}],"kind":"demonstration","label":null,'
        '"prompt":[{"content":"hello","role":"user"}],"rejected":[]}'
    )
    from hashlib import sha256

    assert content.hash() == sha256(canonical.encode()).hexdigest()


LIFTED = "0006_imports_taken_back"


def test_imports_of_the_schema_before_are_kept_and_can_be_taken_back(workspace: Workspace) -> None:

    store = Store.open(workspace)
    with store.imports.stage("d", status=Status.PENDING, rater="r") as staging:
        staging.put(NewExample(demonstration([Turn("user", "hello")], "good day"), Source(SourceKind.IMPORT)))
        staging.publish(file="a.jsonl", format="trl")
    before = store.imports.list()
    schema = "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'imports' ORDER BY name"
    now = store.read().execute(schema).fetchall()
    store.close()
    with _numbers_masked():
        from sqlite_utils import Database

        from workbench.store.migrations import MIGRATIONS
    former = Database(memory=True)
    MIGRATIONS.apply(former, stop_before=LIFTED)
    (create,) = former.execute("SELECT sql FROM sqlite_schema WHERE name = 'imports'").fetchone()
    assert "hiding" not in create
    db = sqlite3.connect(workspace.database)
    db.executescript(
        "ALTER TABLE imports RENAME TO later; DROP INDEX imports_state;"
        f"{create}; INSERT INTO imports SELECT * FROM later; DROP TABLE later;"
        "CREATE INDEX imports_state ON imports(state, first_id, last_id);"
        f"DELETE FROM _sqlite_migrations WHERE name = '{LIFTED}'"
    )
    db.close()
    store = Store.open(workspace)
    assert store.imports.list() == before and before[0].rows == 1
    assert [tuple(row) for row in store.read().execute(schema)] == [tuple(row) for row in now]
    assert store.examples.undo("r") is not None and store.examples.count(parse_query("")) == 0


def test_what_was_undone_before_the_step_can_be_done_again_after_it_and_no_more_than_that(workspace: Workspace) -> None:
    store = Store.open(workspace)
    source = Source(SourceKind.IMPORT)
    made, _ = store.examples.add(
        "d", demonstration([Turn("user", "hello")], "good day"), source=source, status=Status.PENDING, rater="maker"
    )
    for rater in ("redoes", "goes-on"):
        store.examples.change([made.id], Action.NOTE, rater=rater, note=f"by {rater}")
        store.examples.undo(rater)
    store.close()
    db = sqlite3.connect(workspace.database)
    db.execute("UPDATE decisions SET state = 'dropped' WHERE rater = 'goes-on'")  # as the step before left it
    db.execute("DROP TABLE undone_groups")
    db.execute("DELETE FROM _sqlite_migrations WHERE name = '0011_undone_groups'")
    db.commit()
    db.close()
    store = Store.open(workspace)
    assert store.examples.redo("goes-on") is None
    assert store.examples.redo("redoes") is not None and store.examples.get(made.id).note == "by redoes"
    assert store.examples.redo("redoes") is None


def test_an_answer_in_the_making_of_the_schema_before_is_told_as_one_that_goes_on_from_nothing(
    workspace: Workspace,
) -> None:
    store = Store.open(workspace)
    chat = store.chats.create(title="t", system="", model="m", sampling=Sampling())
    said = store.chats.add_message(chat.id, parent_id=None, role=Role.USER, content="hello")
    store.chats.save_answer_text(
        store.chats.begin_answer(chat.id, parent_id=said.id, model="m", sampling=Sampling()), "half"
    )
    store.close()
    db = sqlite3.connect(workspace.database)
    db.executescript(
        "DROP INDEX answers_edited_from; ALTER TABLE answers DROP COLUMN edited_from;"
        "ALTER TABLE answers DROP COLUMN given; UPDATE answers SET owner_pid = 1, owner_started = 1.0;"
        "DELETE FROM _sqlite_migrations WHERE name = '0012_answers_that_go_on'"
    )
    db.close()
    store = Store.open(workspace)
    (lost,) = store.chats.lost_answers()
    assert (lost.text, lost.edited_from, lost.given) == ("half", None, 0)


def test_comparisons_from_before_prompts_were_chosen_count_as_they_did(workspace: Workspace) -> None:
    store = Store.open(workspace)
    sides = candidate("pip", "x"), candidate("tuned", "y")
    made = store.comparisons.add(user("why?"), *sides, draw_seed=1, chosen="differing")
    assert store.comparisons.get(made.id).chosen == "differing"
    store.comparisons.rate(made.id, Verdict.LEFT, rater="r")
    store.close()
    db = sqlite3.connect(workspace.database)
    for table in ("comparisons", "round_pairs"):
        db.execute(f"ALTER TABLE {table} DROP COLUMN chosen")
    db.execute("DELETE FROM _sqlite_migrations WHERE name = '0013_chosen_prompts'")
    db.commit()
    db.close()
    (vote,) = Store.open(workspace).comparisons.votes()
    assert (vote.comparison_id, vote.chosen) == (made.id, "")


def test_what_a_dataset_has_is_known_after_the_step_too(workspace: Workspace) -> None:
    store = Store.open(workspace)
    content = demonstration([Turn("user", "hello")], "good day")
    source = Source(SourceKind.IMPORT)
    made, _ = store.examples.add("d", content, source=source, status=Status.PENDING, rater="r")
    store.close()
    db = sqlite3.connect(workspace.database)
    _take_back_hashes(db)
    db.execute(MODELS_ADDED)
    db.execute("DELETE FROM _sqlite_migrations WHERE name IN ('0014_hashes', '0015_inserts_without_triggers')")
    db.commit()
    db.close()
    store = Store.open(workspace)
    assert store.examples.find("d", content) == store.examples.get(made.id)
    again, is_new = store.examples.add("d", content, source=source, status=Status.PENDING, rater="r")
    assert (again.id, is_new) == (made.id, False)


def test_an_example_has_its_hash_and_models_once_also_where_triggers_put_them_in_before(workspace: Workspace) -> None:
    store = Store.open(workspace)
    source = Source(SourceKind.CHAT_KEEP, chat_id=1, models=("pip", "pip-2"))
    store.close()
    db = sqlite3.connect(workspace.database)
    db.executescript(
        "CREATE TRIGGER example_hashes_added AFTER INSERT ON examples WHEN new.import_id IS NULL BEGIN "
        "INSERT INTO example_hashes VALUES (new.dataset_id, new.hash, new.id); END;"
        f"{MODELS_ADDED};"
        "DELETE FROM _sqlite_migrations WHERE name = '0015_inserts_without_triggers'"
    )
    db.close()
    store = Store.open(workspace)
    hello, bye = (demonstration([Turn("user", text)], "good day") for text in ("hello", "bye"))
    made, _ = store.examples.add("d", hello, source=source, status=Status.PENDING, rater="r")
    with store.imports.stage("d", status=Status.PENDING, rater="r") as staging:
        staging.put(NewExample(hello, source))
        staging.put(NewExample(bye, source))
        done = staging.publish(file="x", format="trl")
    assert (done.imported, done.duplicates) == (1, 1)
    for model in source.models:
        assert store.examples.ids(parse_query(f"model:{model}")).tolist() == [made.id, made.id + 1]
    found = store.examples.find("d", bye)
    assert found is not None and found.id == made.id + 1
    triggers = store.read().execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%_added'")
    assert [row["name"] for row in triggers] == ["messages_added"]


def test_a_chat_of_an_older_workspace_was_not_imported(workspace: Workspace) -> None:
    store = Store.open(workspace)
    talk = store.chats.create(title="old talk", system="", model="pip", sampling=Sampling())
    store.close()
    db = sqlite3.connect(workspace.database)
    db.execute("ALTER TABLE chats DROP COLUMN imported_utc")
    db.execute("DELETE FROM _sqlite_migrations WHERE name = '0016_days_of_imported_chats'")
    db.commit()
    db.close()
    (chat,) = Store.open(workspace).chats.list()
    assert (chat.id, chat.updated_utc, chat.imported_utc) == (talk.id, talk.updated_utc, "")
