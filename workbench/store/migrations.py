"""The schema, as numbered steps. A released step is never changed: what comes later is a new step.

Imports nothing from us but the text of the first schema, so that an old step means the same for ever. Imported by
``Store.open`` only, because sqlite_utils is slow to import.

Ids that other rows or exported files point to are ``AUTOINCREMENT``: an id is never given twice, also after a delete.
Where an example came from (chat, message, comparison) is kept as plain ids: the example outlives its chat.
"""

from __future__ import annotations

from sqlite_utils import Database, Migrations

from workbench.store import first_schema

MIGRATIONS = Migrations("workbench")


@MIGRATIONS(name="0001_first_schema")
def _first_schema(db: Database) -> None:
    for part in (first_schema.CHATS, first_schema.EXAMPLES, first_schema.MODELS, first_schema.COMPARISONS):
        db.executescript(part)


# What is known of an import while it is on its way: its rows have the ids first_id to last_id, and are hidden by that
# range for as long as the state is 'staging' (coming) or 'removing' (given up). One import at a time.
_IMPORTS = """
CREATE TABLE imports (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL,
    format TEXT NOT NULL,
    dataset TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('staging', 'removing', 'done', 'undone', 'failed')),
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    rater TEXT NOT NULL,
    owner_pid INTEGER NOT NULL,
    owner_started REAL NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX imports_state ON imports(state, first_id, last_id);

ALTER TABLE examples ADD COLUMN tools TEXT NOT NULL DEFAULT '';
ALTER TABLE examples ADD COLUMN import_id INTEGER;
ALTER TABLE examples ADD COLUMN words INTEGER NOT NULL DEFAULT 0;
ALTER TABLE examples ADD COLUMN turns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE examples ADD COLUMN lang TEXT NOT NULL DEFAULT '';
UPDATE examples SET
    words = word_count(prompt_text) + word_count(context_text) + word_count(answer_text),
    turns = json_array_length(prompt) + json_array_length(chosen);
CREATE INDEX examples_measures ON examples(words, turns, lang) WHERE deleted_utc IS NULL;
CREATE INDEX examples_import ON examples(import_id) WHERE import_id IS NOT NULL;
"""

_FINDINGS = """
CREATE TABLE findings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    check_name TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('error', 'warning', 'info')),
    place TEXT NOT NULL,
    reason TEXT NOT NULL,
    fixable INTEGER NOT NULL DEFAULT 0,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX findings_example ON findings(example_id);
CREATE INDEX findings_check ON findings(check_name, severity, example_id);
CREATE INDEX findings_severity ON findings(severity, example_id);

CREATE TABLE redactions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    part TEXT NOT NULL,
    before TEXT NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX redactions_example ON redactions(example_id);

CREATE TABLE views (
    name TEXT PRIMARY KEY,
    query TEXT NOT NULL,
    sort TEXT NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
"""


@MIGRATIONS(name="0002_imports_findings_views")
def _imports_findings_views(db: Database) -> None:
    db.conn.create_function("word_count", 1, lambda text: len(text.split()), deterministic=True)
    for part in (_IMPORTS, _FINDINGS):
        db.executescript(part)


# A vote tells its rater the names, so that each later one of that rater on the same comparison is not blind. The names
# under which people voted on a model stay its own when it is removed.
_BLIND = """
ALTER TABLE ratings ADD COLUMN blind INTEGER NOT NULL DEFAULT 1;
ALTER TABLE ratings ADD COLUMN replaces INTEGER;
UPDATE ratings SET blind = 0 WHERE EXISTS (
    SELECT 1 FROM ratings o WHERE o.comparison_id = ratings.comparison_id AND o.rater = ratings.rater
    AND o.id < ratings.id
);

CREATE TABLE removed_models (
    name TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    removed_utc TEXT NOT NULL
) STRICT;
"""


@MIGRATIONS(name="0003_blind_votes")
def _blind_votes(db: Database) -> None:
    db.executescript(_BLIND)


# One narrow index, in the order of the ids, that answers every filter on a plain field without reading the rows; it
# takes the place of four that each answered a few. Lists of the rows with a note or a model are as long as they need
# to be. The models are written down by triggers, from the one place where they are kept.
_LISTS = """
DROP INDEX examples_live;
DROP INDEX examples_status;
DROP INDEX examples_dataset;
DROP INDEX examples_measures;
CREATE INDEX examples_facts ON examples(
    id, deleted_utc, dataset_id, status, kind, split, source_kind, rater, words, turns, lang, label, rating, import_id,
    updated_utc
);
CREATE INDEX examples_counts ON examples(dataset_id, status, kind, deleted_utc);
CREATE INDEX examples_dataset_ids ON examples(dataset_id);
CREATE INDEX examples_kind ON examples(kind);
CREATE INDEX examples_noted ON examples(id) WHERE note <> '';

CREATE TABLE example_models (
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    PRIMARY KEY (example_id, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_models_model ON example_models(model, example_id);
INSERT OR IGNORE INTO example_models
SELECT e.id, m.value FROM examples e, json_each(e.source, '$.models') m WHERE instr(e.source, '"models"') > 0;
CREATE TRIGGER example_models_added AFTER INSERT ON examples WHEN instr(new.source, '"models"') > 0 BEGIN
    INSERT OR IGNORE INTO example_models SELECT new.id, value FROM json_each(new.source, '$.models');
END;
CREATE TRIGGER example_models_changed AFTER UPDATE OF source ON examples BEGIN
    DELETE FROM example_models WHERE example_id = new.id;
    INSERT OR IGNORE INTO example_models SELECT new.id, value FROM json_each(new.source, '$.models');
END;

ALTER TABLE views ADD COLUMN dataset TEXT NOT NULL DEFAULT '';
"""


@MIGRATIONS(name="0004_lists_at_scale")
def _lists_at_scale(db: Database) -> None:
    db.executescript(_LISTS)


# A deleted chat stays, hidden, until it has been deleted for a while. Where a server's key is, never the key.
_CHATS_KEPT = """
ALTER TABLE chats ADD COLUMN archived_utc TEXT NOT NULL DEFAULT '';
ALTER TABLE chats ADD COLUMN deleted_utc TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN key_source TEXT NOT NULL DEFAULT '';

CREATE TABLE presets (
    name TEXT PRIMARY KEY,
    system TEXT NOT NULL,
    sampling TEXT NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
"""


@MIGRATIONS(name="0005_chats_kept_and_endpoints")
def _chats_kept_and_endpoints(db: Database) -> None:
    db.executescript(_CHATS_KEPT)


# One more state: 'hiding', for a large import that is being taken back or brought again. SQLite changes no CHECK.
_HIDING = """
CREATE TABLE imports_with_hiding (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    file TEXT NOT NULL,
    format TEXT NOT NULL,
    dataset TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('staging', 'removing', 'hiding', 'done', 'undone', 'failed')),
    first_id INTEGER NOT NULL,
    last_id INTEGER NOT NULL,
    rows INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    rater TEXT NOT NULL,
    owner_pid INTEGER NOT NULL,
    owner_started REAL NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
INSERT INTO imports_with_hiding SELECT * FROM imports;
DROP TABLE imports;
ALTER TABLE imports_with_hiding RENAME TO imports;
CREATE INDEX imports_state ON imports(state, first_id, last_id);
"""


@MIGRATIONS(name="0006_imports_taken_back")
def _imports_taken_back(db: Database) -> None:
    db.executescript(_HIDING)


# What runs measured of single examples. A score goes with its run, and with its example.
_SCORES = """
CREATE TABLE example_scores (
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    held_out INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    base_loss REAL,
    loss REAL,
    base_margin REAL,
    margin REAL,
    PRIMARY KEY (run_id, example_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_scores_example ON example_scores(example_id, run_id, loss, margin);
"""


@MIGRATIONS(name="0007_scores")
def _scores(db: Database) -> None:
    db.executescript(_SCORES)


# What is kept beside a vote, which weights answered, where a prompt came from, and pairs shown again to one rater. A
# round is what models are being asked: its rows become comparisons, one side may come before the other.
_VOTES = """
ALTER TABLE comparisons ADD COLUMN a_identity TEXT NOT NULL DEFAULT '{}';
ALTER TABLE comparisons ADD COLUMN b_identity TEXT NOT NULL DEFAULT '{}';
ALTER TABLE comparisons ADD COLUMN example_id INTEGER;
ALTER TABLE comparisons ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE comparisons ADD COLUMN difference REAL;
ALTER TABLE comparisons ADD COLUMN repeat_of INTEGER REFERENCES comparisons(id) ON DELETE CASCADE;
ALTER TABLE comparisons ADD COLUMN repeat_for TEXT NOT NULL DEFAULT '';
CREATE INDEX comparisons_repeats ON comparisons(repeat_of) WHERE repeat_of IS NOT NULL;

ALTER TABLE ratings ADD COLUMN kind TEXT NOT NULL DEFAULT 'human';
ALTER TABLE ratings ADD COLUMN strength TEXT NOT NULL DEFAULT '';
ALTER TABLE ratings ADD COLUMN rubric TEXT NOT NULL DEFAULT '{}';
ALTER TABLE ratings ADD COLUMN live INTEGER NOT NULL DEFAULT 0;

CREATE TABLE rounds (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sampling TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'stopped', 'done')),
    owner_pid INTEGER NOT NULL,
    owner_started REAL NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX rounds_state ON rounds(state);

CREATE TABLE round_pairs (
    round_id INTEGER NOT NULL REFERENCES rounds(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    a_model TEXT NOT NULL,
    b_model TEXT NOT NULL,
    seed INTEGER NOT NULL,
    draw_seed INTEGER NOT NULL,
    example_id INTEGER,
    tags TEXT NOT NULL,
    a_text TEXT,
    a_generation TEXT,
    b_text TEXT,
    b_generation TEXT,
    comparison_id INTEGER REFERENCES comparisons(id) ON DELETE SET NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
    PRIMARY KEY (round_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX round_pairs_comparison ON round_pairs(comparison_id);
"""


@MIGRATIONS(name="0008_votes_and_rounds")
def _votes_and_rounds(db: Database) -> None:
    db.executescript(_VOTES)


_GROUPS = """
ALTER TABLE runs ADD COLUMN group_name TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN group_kind TEXT NOT NULL DEFAULT '';
CREATE INDEX runs_group ON runs(group_name) WHERE group_name <> '';
"""


@MIGRATIONS(name="0009_groups_of_runs")
def _groups_of_runs(db: Database) -> None:
    db.executescript(_GROUPS)


# A batch is owned by the process that works on it. With two models its prompts are those of a round, which keeps them.
_BATCHES = """
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    models TEXT NOT NULL,
    sampling TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'stopped', 'done')),
    round_id INTEGER REFERENCES rounds(id) ON DELETE SET NULL,
    owner_pid INTEGER,
    owner_started REAL,
    error TEXT NOT NULL DEFAULT '',
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX batches_round ON batches(round_id);

CREATE TABLE batch_prompts (
    batch_id INTEGER NOT NULL REFERENCES batches(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    prompt TEXT NOT NULL,
    question_id INTEGER REFERENCES messages(id) ON DELETE SET NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'done', 'failed')),
    PRIMARY KEY (batch_id, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX batch_prompts_question ON batch_prompts(question_id);
"""


@MIGRATIONS(name="0010_batches")
def _batches(db: Database) -> None:
    db.executescript(_BATCHES)


# Which gestures can be done again. A decision that is undone stays so for good when its group is not among them.
_UNDONE = """
CREATE TABLE undone_groups (
    rater TEXT NOT NULL,
    group_id INTEGER NOT NULL,
    PRIMARY KEY (rater, group_id)
) STRICT, WITHOUT ROWID;
INSERT INTO undone_groups SELECT DISTINCT rater, group_id FROM decisions WHERE state = 'undone';
"""


@MIGRATIONS(name="0011_undone_groups")
def _undone_groups(db: Database) -> None:
    db.executescript(_UNDONE)


# An answer in the making that goes on from another one: which, and how many characters of its text were given.
_GOING_ON = """
ALTER TABLE answers ADD COLUMN edited_from INTEGER REFERENCES messages(id) ON DELETE CASCADE;
ALTER TABLE answers ADD COLUMN given INTEGER NOT NULL DEFAULT 0;
CREATE INDEX answers_edited_from ON answers(edited_from);
"""


@MIGRATIONS(name="0012_answers_that_go_on")
def _answers_that_go_on(db: Database) -> None:
    db.executescript(_GOING_ON)


# Why a prompt was asked: votes on prompts that were chosen for their answers' difference count for no rate.
_CHOSEN = """
ALTER TABLE comparisons ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
ALTER TABLE round_pairs ADD COLUMN chosen TEXT NOT NULL DEFAULT '';
"""


@MIGRATIONS(name="0013_chosen_prompts")
def _chosen_prompts(db: Database) -> None:
    db.executescript(_CHOSEN)


# See ``hashes.py``. The rows of an import are put in by itself.
_HASHES = """
CREATE TABLE example_hashes (
    dataset_id INTEGER NOT NULL,
    hash BLOB NOT NULL,
    example_id INTEGER NOT NULL,
    PRIMARY KEY (dataset_id, hash, example_id)
) STRICT, WITHOUT ROWID;
INSERT INTO example_hashes SELECT dataset_id, hash, id FROM examples ORDER BY 1, 2, 3;
DROP INDEX examples_hash;
CREATE TRIGGER example_hashes_added AFTER INSERT ON examples WHEN new.import_id IS NULL BEGIN
    INSERT INTO example_hashes VALUES (new.dataset_id, new.hash, new.id);
END;
CREATE TRIGGER example_hashes_changed AFTER UPDATE OF dataset_id, hash ON examples BEGIN
    DELETE FROM example_hashes WHERE (dataset_id, hash, example_id) = (old.dataset_id, old.hash, old.id);
    INSERT OR IGNORE INTO example_hashes VALUES (new.dataset_id, new.hash, new.id);
END;
CREATE TRIGGER example_hashes_removed AFTER DELETE ON examples BEGIN
    DELETE FROM example_hashes WHERE (dataset_id, hash, example_id) = (old.dataset_id, old.hash, old.id);
END;
"""


@MIGRATIONS(name="0014_hashes")
def _hashes(db: Database) -> None:
    db.executescript(_HASHES)


# The store puts a new example's hash and models in itself: a trigger on every insert, also one that does nothing, has
# all columns copied for it, which took a third of the time that an import's rows take.
_INSERTS = """
DROP TRIGGER example_hashes_added;
DROP TRIGGER example_models_added;
"""


@MIGRATIONS(name="0015_inserts_without_triggers")
def _inserts_without_triggers(db: Database) -> None:
    db.executescript(_INSERTS)


# When a chat came in out of another program's file; such a chat's other dates are that program's.
_IMPORTED = """
ALTER TABLE chats ADD COLUMN imported_utc TEXT NOT NULL DEFAULT '';
"""


@MIGRATIONS(name="0016_days_of_imported_chats")
def _days_of_imported_chats(db: Database) -> None:
    db.executescript(_IMPORTED)
