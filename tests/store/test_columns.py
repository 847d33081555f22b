"""What a new row's columns hold: the same whichever way it was written there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workbench.domain.chats import Turn
from workbench.domain.examples import Content, Kind, NewExample, Source, SourceKind, Status
from workbench.store.columns import COLUMNS, content_fields, new_values, stored, texts

TEXTS = st.one_of(st.sampled_from(["", "plain", 'a "quote"\n\t\\', "\x00\x7f", "ü", "\ud83d", "<|im_end|>"]), st.text())
TURNS = st.lists(st.builds(Turn, st.sampled_from(["user", "assistant", "ü"]), TEXTS, st.sampled_from(["", "{}"])))
CONTENTS = st.builds(
    Content,
    st.sampled_from(Kind),
    TURNS.map(tuple),
    TURNS.map(tuple),
    TURNS.map(tuple),
    st.sampled_from([None, True, False]),
    st.sampled_from(["", '[{"name":"add"}]']),
)


@given(CONTENTS)
def test_a_row_is_written_as_its_content_says_and_hashed_as_it_is_read_back(content: Content) -> None:
    new = NewExample(content, Source(SourceKind.IMPORT))
    row = dict(zip(COLUMNS, new_values(new, rater="r", now="n", status=Status.PENDING), strict=True))
    kept = stored(content)
    assert row["hash"] == bytes.fromhex(kept.hash())
    for name, value in (content_fields(kept) | texts(kept)).items():
        assert row[name] == value
