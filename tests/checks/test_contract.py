"""What holds for every check, whatever it looks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import checks
from workbench.domain.chats import Turn, storable
from workbench.domain.checks import (
    Check,
    CheckedRow,
    Finding,
    FixKind,
    Language,
    RowCheck,
    SetCheck,
    Severity,
    Surroundings,
    checked_row_from_dict,
    finding_from_dict,
)
from workbench.domain.examples import Content, Kind
from workbench.errors import UsageError

FOUND = checks.find()
ROW_CHECKS = [check for check in FOUND.values() if isinstance(check, RowCheck)]
IN_PROCESS = [check for check in FOUND.values() if isinstance(check, SetCheck) and not check.in_child]

hostile = st.one_of(
    st.text(max_size=60).map(storable),
    st.sampled_from(
        [
            *("", " \n", "<|im_end|>", "<s>a</s>", "[INST]", "</s></s>", "\x1b[31mred\x1b[0m", "\u202eabc", "{{name}}"),
            *("ann@firm-name.de", "4716 9011 2345 6789", "DE75512108001245126199", "1.2.3.4.5", "::1", "+49 30 901820"),
            *("I'm sorry, but I can't help with that.", "<|im_<|im_end|>end|>", "-----BEGIN RSA PRIVATE KEY-----"),
        ]
    ),
)
turns = st.lists(
    st.builds(Turn, st.sampled_from(["system", "user", "assistant", "tool", "narrator"]), hostile), max_size=4
).map(tuple)
contents = st.builds(Content, st.sampled_from(Kind), turns, turns, turns, st.sampled_from([None, True, False]))


def test_there_are_checks() -> None:
    assert len(FOUND) >= 16


@pytest.mark.parametrize("check", FOUND.values(), ids=FOUND)
def test_a_check_is_named_after_its_file_and_says_what_it_finds(check: Check) -> None:
    folder = Path(checks.__file__).parent
    assert (folder / f"{check.name}.py").is_file()
    assert check.title and check.summary and not check.summary.endswith(".")


@pytest.mark.parametrize("check", FOUND.values(), ids=FOUND)
def test_a_fix_edits_or_rejects(check: Check) -> None:
    if check.fix is not None:
        assert check.fix.said
        assert (check.fix.edit is None) == (check.fix.kind is FixKind.REJECT)


@pytest.mark.parametrize("check", ROW_CHECKS, ids=lambda check: check.name)
@given(content=contents)
@settings(max_examples=60, deadline=None)
def test_a_row_check_takes_any_content_and_says_the_same_twice(check: RowCheck, content: Content) -> None:
    found = list(check.look(content))
    assert found == list(check.look(content))
    assert all(f.reason and (check.fix is not None or not f.fixable) for f in found)


@pytest.mark.parametrize("check", [c for c in ROW_CHECKS if c.fix and c.fix.edit], ids=lambda check: check.name)
@given(content=contents)
@settings(max_examples=100, deadline=None)
def test_mending_leaves_nothing_to_mend_and_changes_nothing_else(check: RowCheck, content: Content) -> None:
    assert check.fix is not None and check.fix.edit is not None
    mended = check.fix.edit(content)
    assert not [f for f in check.look(mended) if f.fixable]
    assert check.fix.edit(mended) == mended
    assert [(t.role, t.extra) for t in mended.prompt] == [(t.role, t.extra) for t in content.prompt]
    if not [f for f in check.look(content) if f.fixable]:
        assert mended == content


@pytest.mark.parametrize("check", IN_PROCESS, ids=lambda check: check.name)
@given(rows=st.lists(contents, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_set_check_takes_any_rows_and_reads_them_once(check: SetCheck, rows: list[Content]) -> None:
    def once() -> Iterator[CheckedRow]:
        yield from (CheckedRow(number, "d", content) for number, content in enumerate(rows, start=1))

    ids = {None, *range(1, len(rows) + 1)}
    for found in check.look(once(), Surroundings()):
        assert isinstance(found, Language) or found.example_id in ids


@given(content=contents)
@settings(max_examples=60, deadline=None)
def test_a_row_survives_the_way_to_a_child(content: Content) -> None:
    row = CheckedRow(7, "d", content, comparison_id=3)
    assert checked_row_from_dict(row.as_dict()) == row


def test_a_finding_survives_the_way_from_a_child() -> None:
    finding = Finding(Severity.WARNING, "reason", "chosen turn 1", True, 5, "empty")
    assert finding_from_dict(finding.as_dict()) == finding


def test_an_unknown_check_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UsageError) as refused:
        checks.get("near_duplicate")
    assert "near_duplicates" in refused.value.hint


def test_finding_the_checks_loads_none_of_their_libraries(tmp_path: Path) -> None:
    large = ("numpy", "datasketch", "py3langid", "phonenumbers", "detect_secrets", "requests", "rapidfuzz", "torch")
    code = f"import sys; from workbench import checks; checks.find(); print([m for m in {large!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert answer.stdout.strip() == "[]"
