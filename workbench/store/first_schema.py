"""The tables of the first release, as SQL: what the first step of ``migrations.py`` makes. Never changed."""

from __future__ import annotations

CHATS = """
CREATE TABLE chats (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    system TEXT NOT NULL,
    model TEXT NOT NULL,
    sampling TEXT NOT NULL,
    tip_id INTEGER REFERENCES messages(id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    created_utc TEXT NOT NULL,
    updated_utc TEXT NOT NULL
) STRICT;
CREATE INDEX chats_updated ON chats(updated_utc);
CREATE INDEX chats_tip ON chats(tip_id);

CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id INTEGER NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
    parent_id INTEGER REFERENCES messages(id) DEFERRABLE INITIALLY DEFERRED,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    generation TEXT,
    edited_from INTEGER REFERENCES messages(id) DEFERRABLE INITIALLY DEFERRED,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX messages_chat ON messages(chat_id);
CREATE INDEX messages_parent ON messages(parent_id);
CREATE INDEX messages_edited_from ON messages(edited_from);

CREATE VIRTUAL TABLE messages_fts USING fts5(
    content, content='messages', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
    INSERT INTO messages_fts(rowid, content) VALUES (new.id, new.content);
END;
CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
    INSERT INTO messages_fts(messages_fts, rowid, content) VALUES ('delete', old.id, old.content);
END;

CREATE TABLE answers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id INTEGER NOT NULL REFERENCES chats(id) ON DELETE CASCADE,
    parent_id INTEGER REFERENCES messages(id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    sampling TEXT NOT NULL,
    text TEXT NOT NULL,
    owner_pid INTEGER NOT NULL,
    owner_started REAL NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX answers_chat ON answers(chat_id);
CREATE INDEX answers_parent ON answers(parent_id);

CREATE TABLE drafts (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    updated_utc TEXT NOT NULL
) STRICT;
"""

EXAMPLES = """
CREATE TABLE datasets (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created_utc TEXT NOT NULL
) STRICT;

CREATE TABLE examples (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    dataset_id INTEGER NOT NULL REFERENCES datasets(id),
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    split TEXT NOT NULL,
    label INTEGER,
    rating INTEGER,
    rater TEXT NOT NULL,
    source_kind TEXT NOT NULL,
    source TEXT NOT NULL,
    hash BLOB NOT NULL,
    created_utc TEXT NOT NULL,
    updated_utc TEXT NOT NULL,
    deleted_utc TEXT,
    note TEXT NOT NULL,
    prompt_text TEXT NOT NULL,
    answer_text TEXT NOT NULL,
    context_text TEXT NOT NULL,
    rejected_text TEXT NOT NULL,
    prompt TEXT NOT NULL,
    chosen TEXT NOT NULL,
    rejected TEXT NOT NULL
) STRICT;
CREATE INDEX examples_live ON examples(id) WHERE deleted_utc IS NULL;
CREATE INDEX examples_status ON examples(status, dataset_id) WHERE deleted_utc IS NULL;
CREATE INDEX examples_dataset ON examples(dataset_id, status, kind) WHERE deleted_utc IS NULL;
CREATE INDEX examples_hash ON examples(dataset_id, hash);

CREATE TABLE example_tags (
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    tag TEXT NOT NULL,
    PRIMARY KEY (example_id, tag)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_tags_tag ON example_tags(tag, example_id);

CREATE TABLE example_flags (
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    flag TEXT NOT NULL,
    PRIMARY KEY (example_id, flag)
) STRICT, WITHOUT ROWID;
CREATE INDEX example_flags_flag ON example_flags(flag, example_id);

-- Inserts are indexed by the store itself (row by row or in bulk); changes and deletes by these triggers.
CREATE VIRTUAL TABLE examples_fts USING fts5(
    prompt_text, answer_text, context_text, rejected_text, note,
    content='examples', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
);
CREATE TRIGGER examples_changed
AFTER UPDATE OF prompt_text, answer_text, context_text, rejected_text, note ON examples BEGIN
    INSERT INTO examples_fts(examples_fts, rowid, prompt_text, answer_text, context_text, rejected_text, note)
    VALUES ('delete', old.id, old.prompt_text, old.answer_text, old.context_text, old.rejected_text, old.note);
    INSERT INTO examples_fts(rowid, prompt_text, answer_text, context_text, rejected_text, note)
    VALUES (new.id, new.prompt_text, new.answer_text, new.context_text, new.rejected_text, new.note);
END;
CREATE TRIGGER examples_removed AFTER DELETE ON examples BEGIN
    INSERT INTO examples_fts(examples_fts, rowid, prompt_text, answer_text, context_text, rejected_text, note)
    VALUES ('delete', old.id, old.prompt_text, old.answer_text, old.context_text, old.rejected_text, old.note);
END;

-- state: done; undone (can be done again); dropped (undone, then something else was done instead)
CREATE TABLE decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id INTEGER NOT NULL,
    example_id INTEGER NOT NULL REFERENCES examples(id) ON DELETE CASCADE,
    action TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    rater TEXT NOT NULL,
    created_utc TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'done' CHECK (state IN ('done', 'undone', 'dropped'))
) STRICT;
CREATE INDEX decisions_example ON decisions(example_id);
CREATE INDEX decisions_group ON decisions(group_id);
CREATE INDEX decisions_rater ON decisions(rater, state, group_id);
"""

MODELS = """
CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    base TEXT NOT NULL,
    run_id INTEGER,
    sha256 TEXT NOT NULL,
    format TEXT NOT NULL,
    note TEXT NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    method TEXT NOT NULL,
    dataset TEXT NOT NULL,
    base TEXT NOT NULL,
    directory TEXT NOT NULL,
    state TEXT NOT NULL,
    step INTEGER NOT NULL DEFAULT 0,
    total_steps INTEGER NOT NULL DEFAULT 0,
    loss REAL,
    eval_loss REAL,
    base_eval_loss REAL,
    adapter TEXT NOT NULL DEFAULT '',
    error TEXT NOT NULL DEFAULT '',
    hint TEXT NOT NULL DEFAULT '',
    events_offset INTEGER NOT NULL DEFAULT 0,
    created_utc TEXT NOT NULL,
    started_utc TEXT NOT NULL DEFAULT '',
    ended_utc TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX runs_name ON runs(name);

-- value is NULL for a number that is not one (SQLite keeps no NaN)
CREATE TABLE metrics (
    run_id INTEGER NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    step INTEGER NOT NULL,
    value REAL,
    at_utc TEXT NOT NULL,
    PRIMARY KEY (run_id, name, step)
) STRICT, WITHOUT ROWID;
"""

COMPARISONS = """
CREATE TABLE comparisons (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    prompt TEXT NOT NULL,
    a_model TEXT NOT NULL,
    a_text TEXT NOT NULL,
    a_generation TEXT NOT NULL,
    b_model TEXT NOT NULL,
    b_text TEXT NOT NULL,
    b_generation TEXT NOT NULL,
    left_is_a INTEGER NOT NULL,
    identical INTEGER NOT NULL,
    draw_seed INTEGER NOT NULL,
    created_utc TEXT NOT NULL
) STRICT;
CREATE INDEX comparisons_models ON comparisons(a_model, b_model);

CREATE TABLE ratings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    comparison_id INTEGER NOT NULL REFERENCES comparisons(id) ON DELETE CASCADE,
    verdict TEXT NOT NULL,
    rater TEXT NOT NULL,
    comment TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    created_utc TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX ratings_comparison ON ratings(comparison_id, rater, undone);
CREATE INDEX ratings_rater ON ratings(rater, undone, id);
"""
