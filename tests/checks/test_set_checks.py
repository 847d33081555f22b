"""What the checks of many rows find among them, and what they leave alone."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from workbench import checks
from workbench.checks._likeness import likeness, shingles
from workbench.domain.chats import Turn
from workbench.domain.checks import (
    CheckedRow,
    ComparedPrompt,
    Finding,
    HeldOutRow,
    Language,
    SetCheck,
    Surroundings,
    TokenCount,
)
from workbench.domain.examples import Content, Kind, Split

LONG = "Pour the water over the leaves when it has cooled to eighty degrees, wait for two minutes, and take them out."


def seen(name: str, rows: Iterable[CheckedRow], around: Surroundings | None = None) -> list[Finding | Language]:
    check = checks.get(name)
    assert isinstance(check, SetCheck)
    return list(check.look(iter(list(rows)), around or Surroundings()))


def look(name: str, rows: Iterable[CheckedRow], around: Surroundings | None = None) -> list[Finding]:
    return [found for found in seen(name, rows, around) if isinstance(found, Finding)]


def shown(number: int, question: str, answer: str, **given: object) -> CheckedRow:
    content = Content(Kind.DEMONSTRATION, (Turn("user", question),), (Turn("assistant", answer),))
    return CheckedRow(number, str(given.pop("dataset", "teas")), content, **given)  # type: ignore[arg-type]


def pair(number: int, question: str, chosen: str, rejected: str, *, dataset: str = "teas") -> CheckedRow:
    turns = (Turn("user", question),), (Turn("assistant", chosen),), (Turn("assistant", rejected),)
    return CheckedRow(number, dataset, Content(Kind.PREFERENCE, *turns))


def judged(number: int, answer: str, label: bool) -> CheckedRow:
    turns = (Turn("user", "Which tea?"),), (Turn("assistant", answer),)
    return CheckedRow(number, "teas", Content(Kind.JUDGEMENT, *turns, label=label))


# exact_duplicates


def test_the_same_row_with_other_case_and_spaces_is_a_duplicate_of_the_first() -> None:
    rows = [shown(3, "Green?", "Sencha."), shown(5, " green? ", "Sencha."), shown(8, "GREEN?", "sencha.")]
    assert [(f.example_id, f.reason) for f in look("exact_duplicates", rows)] == [
        (5, "says the same as example 3"),
        (8, "says the same as example 3"),
    ]


def test_rows_of_other_datasets_kinds_labels_sides_or_scenes_are_no_duplicates() -> None:
    scene = Content(
        Kind.DEMONSTRATION, (Turn("system", "Be rude."), Turn("user", "Green?")), (Turn("assistant", "Tea"),)
    )
    rows = [
        shown(1, "Green?", "Tea"),
        shown(2, "Green?", "Tea", dataset="other"),
        shown(3, "Green?", "Tea", split=Split.TEST),
        CheckedRow(4, "teas", scene),
        judged(5, "Tea", True),
        judged(6, "Tea", False),
    ]
    assert look("exact_duplicates", rows) == []


# conflicting_labels


def test_both_thumbs_on_one_answer_contradict_each_other() -> None:
    rows = [judged(1, "Sencha.", True), judged(2, "Assam.", False), judged(3, "sencha.", False)]
    assert [(f.example_id, "example 1" in f.reason) for f in look("conflicting_labels", rows)] == [(3, True)]


def test_a_pair_both_ways_round_contradicts_itself() -> None:
    rows = [
        pair(1, "Which?", "Sencha", "Assam"),
        pair(2, "Which?", "Sencha", "Earl Grey"),
        pair(3, "Which?", "Assam", "Sencha"),
    ]
    assert [f.example_id for f in look("conflicting_labels", rows)] == [3]


def test_one_long_question_with_two_labels_is_told_and_two_long_answers_are_not() -> None:
    question = "Is the following review positive or negative: the tea was fine"
    rows = [shown(1, question, "positive"), shown(2, question, "negative"), shown(3, "Hi", "yes"), shown(4, "Hi", "no")]
    assert [(f.example_id, f.severity.value) for f in look("conflicting_labels", rows)] == [(2, "info")]
    rows = [shown(1, question, LONG), shown(2, question, LONG.replace("two", "three"))]
    assert look("conflicting_labels", rows) == []


# length_bias and length_words


def biased(longer: int, shorter: int) -> list[CheckedRow]:
    return [pair(n, f"q{n}", "long answer", "short") for n in range(longer)] + [
        pair(longer + n, f"r{n}", "short", "long answer") for n in range(shorter)
    ]


def test_pairs_that_length_alone_decides_are_told_once() -> None:
    (found,) = look("length_bias", biased(90, 10))
    assert found.example_id is None and "longer one in 90% of 100 pairs" in found.reason
    (found,) = look("length_bias", biased(10, 90))
    assert "shorter one in 90%" in found.reason


@pytest.mark.parametrize(("longer", "shorter"), [(50, 50), (65, 35), (20, 2), (29, 0)])
def test_a_fair_share_or_too_few_pairs_are_no_bias(longer: int, shorter: int) -> None:
    assert look("length_bias", biased(longer, shorter)) == []


def test_an_answer_many_times_longer_than_the_others_is_told() -> None:
    rows = [shown(n, "q", "word " * 80) for n in range(1, 60)] + [shown(60, "q", "word " * 900)]
    assert [(f.example_id, f.severity.value) for f in look("length_words", rows)] == [(60, "warning")]


def test_short_answers_are_told_only_where_they_are_the_exception() -> None:
    rows = [shown(n, "q", "word " * 80) for n in range(1, 300)]
    assert [f.example_id for f in look("length_words", [*rows, shown(300, "q", "Paris")])] == [300]
    labels = [shown(300 + n, "q", "Paris") for n in range(30)]
    assert look("length_words", [*rows, *labels]) == []
    assert look("length_words", [shown(n, "q", "Paris") for n in range(100)]) == []


# leakage


def held(row: CheckedRow, *, strict: bool = True) -> Surroundings:
    return Surroundings(held_out=[HeldOutRow(row, strict)])


def test_a_row_of_the_test_split_is_not_trained_on() -> None:
    around = held(shown(9, "Green?", "Sencha.", split=Split.TEST, dataset="exam"))
    (found,) = look("leakage", [shown(1, " green? ", "sencha."), shown(2, "Black?", "Assam.")], around)
    assert (found.example_id, found.severity.value, found.fixable) == (1, "error", True)
    assert "test split of exam (example 9)" in found.reason


def test_the_same_question_with_another_answer_and_a_near_copy_are_warnings() -> None:
    around = held(shown(9, "How do I brew green tea?", LONG, split=Split.TEST))
    near = shown(1, "Say, how do I brew green tea?", LONG)
    rows = [
        near,
        shown(2, "How do I brew green tea?", "Slowly."),
        shown(3, "How do I brew black tea?", "With hot water."),
    ]
    found = look("leakage", rows, around)
    assert [(f.example_id, f.severity.value) for f in found] == [(1, "warning"), (2, "warning")]
    true_share = likeness(*(shingles(f"{r.content.prompt[0].content}\n{LONG}") for r in (near, around.held_out[0].row)))
    assert f"{true_share:.0%} the same" in found[0].reason and true_share >= 0.85


def test_texts_from_one_mould_with_other_figures_are_not_near() -> None:
    around = held(
        shown(9, "My kettle from order 31 arrived broken, please send me a new one", "Sorry. Order 31 is noted.")
    )
    rows = [shown(1, "My teapot from order 77 arrived late, please pay me back for it", "Sorry. Order 77 is noted.")]
    assert look("leakage", rows, around) == []


def test_validation_is_strict_in_its_own_dataset_only() -> None:
    around = held(shown(9, "Green?", "Sencha.", split=Split.VALIDATION), strict=False)
    rows = [shown(1, "Green?", "Sencha."), shown(2, "Green?", "Sencha.", dataset="other")]
    assert [f.severity.value for f in look("leakage", rows, around)] == ["error", "warning"]


def test_held_out_rows_do_not_leak_into_themselves() -> None:
    row = shown(9, "Green?", "Sencha.", split=Split.TEST)
    assert look("leakage", [row], held(row)) == []


def compared(question: str, *, voted: bool) -> Surroundings:
    return Surroundings(compared=[ComparedPrompt(4, (Turn("system", "Be kind."), Turn("user", question)), voted)])


def test_a_prompt_that_was_voted_on_is_locked_and_one_that_was_only_compared_on_is_told() -> None:
    row = shown(1, "which tea is GREEN?", "Sencha.")
    (found,) = look("leakage", [row], compared("Which tea is green?", voted=True))
    assert found.severity.value == "error" and "comparison 4" in found.reason
    (found,) = look("leakage", [row], compared("Which tea is green?", voted=False))
    assert found.severity.value == "warning"
    assert look("leakage", [row], compared("Which tea is black?", voted=True)) == []


def test_a_row_made_from_a_vote_may_be_trained_on() -> None:
    row = shown(1, "Which tea is green?", "Sencha.", comparison_id=4)
    (found,) = look("leakage", [row], compared("Which tea is green?", voted=True))
    assert found.severity.value == "info"


def test_the_index_finds_every_pair_that_comparing_all_with_all_finds() -> None:
    draw = random.Random(3)
    words = [f"w{n}" for n in range(300)]
    originals = [[draw.choice(words) for _ in range(60)] for _ in range(40)]
    copies = []
    for original in originals:
        copy = list(original)
        for _ in range(draw.randrange(5)):
            copy[draw.randrange(60)] = draw.choice(words)
        copies.append(" ".join(copy))
    around = Surroundings(
        held_out=[HeldOutRow(shown(1000 + n, f"q {n}", " ".join(o)), True) for n, o in enumerate(originals)]
    )
    rows = [shown(n, f"other {n}", copy) for n, copy in enumerate(copies, start=1)]
    by_hand = {
        row.id for row in rows if any(likeness(_shingles(row), _shingles(one.row)) >= 0.85 for one in around.held_out)
    }
    assert 5 < len(by_hand) < 40
    assert {f.example_id for f in look("leakage", rows, around)} == by_hand


def _shingles(row: CheckedRow) -> set[int]:
    return shingles("\n".join(t.content for t in (*row.content.prompt, *row.content.chosen)))


def test_beyond_the_limit_only_equal_rows_are_found_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.checks import leakage

    monkeypatch.setattr(leakage, "MOST_NEAR", 1)
    held_out = [shown(n, f"{n}. How do I brew green tea?", LONG, split=Split.TEST) for n in (8, 9)]
    around = Surroundings(held_out=iter(HeldOutRow(row, True) for row in held_out))
    rows = [shown(1, "8. So how do I brew green tea?", LONG), shown(2, "9. How do I brew green tea?", LONG)]
    found = look("leakage", rows, around)
    assert [(f.example_id, f.severity.value) for f in found] == [(1, "warning"), (2, "error"), (None, "warning")]
    assert "first 1 of 2" in found[2].reason


def test_what_is_strict_counts_whatever_comes_first() -> None:
    twice = [
        HeldOutRow(shown(8, "Green?", "Sencha.", split=Split.VALIDATION, dataset="other"), False),
        HeldOutRow(shown(9, "Green?", "Sencha.", split=Split.TEST, dataset="exam"), True),
    ]
    (found,) = look("leakage", [shown(1, "Green?", "Sencha.")], Surroundings(held_out=twice))
    assert found.severity.value == "error" and "exam" in found.reason


# near_duplicates and language_mix: their libraries load numpy here, as in the child


def test_near_copies_are_found_against_the_first_and_others_are_not() -> None:
    draw = random.Random(5)
    words = [f"w{n}" for n in range(500)]
    texts = [" ".join(draw.choice(words) for _ in range(80)) for _ in range(200)]
    changed = texts[7].split(" ")
    changed[40] = "new"
    rows = [shown(n, f"q {n}", text) for n, text in enumerate(texts, start=1)]
    rows += [shown(900, "q 8", " ".join(changed)), shown(901, "q 8", texts[7], dataset="other")]
    (found,) = look("near_duplicates", rows)
    assert (found.example_id, found.fixable) == (900, True)
    true_share = likeness(_shingles(rows[7]), _shingles(rows[200]))
    assert found.reason == f"is {true_share:.0%} the same as example 8"


def test_short_rows_and_unspaced_scripts() -> None:
    short = [shown(1, "Hello", "Hi there"), shown(2, "Hello!", "Hi there")]
    assert look("near_duplicates", short) == []
    chinese = "把水烧到八十度然后倒在茶叶上等两分钟再把茶叶取出来这样泡出来的绿茶味道最好也不会发苦"
    rows = [
        shown(1, "怎么泡绿茶", chinese),
        shown(2, "请怎么泡绿茶", chinese),
        shown(3, "红茶呢", "红茶要用开水泡四分钟左右才好喝可以加一点牛奶和糖"),
    ]
    assert [f.example_id for f in look("near_duplicates", rows)] == [2]


ENGLISH = "Pour the water over the leaves when it has cooled a little, wait for two minutes and take them out again."
GERMAN = (
    "Gieße das Wasser über die Blätter, sobald es etwas abgekühlt ist, warte zwei Minuten und nimm sie wieder heraus."
)
QUESTION = "Could you please explain to me how one brews a good cup of green tea at home?"


def test_an_answer_in_another_language_is_told_unless_it_was_asked_for() -> None:
    rows = [
        shown(1, QUESTION, ENGLISH),
        shown(2, QUESTION, GERMAN),
        shown(3, QUESTION + " Answer in German.", GERMAN),
        shown(4, "Wie brüht man zu Hause eine gute Tasse grünen Tee auf, bitte?", GERMAN),
        shown(5, "Hi", GERMAN),
        shown(6, QUESTION, "Ja."),
        shown(7, QUESTION, ENGLISH),
        shown(8, QUESTION, ENGLISH),
    ]
    found = seen("language_mix", rows)
    assert [f.example_id for f in found if isinstance(f, Finding) and f.example_id] == [2]
    languages = {one.example_id: one.code for one in found if isinstance(one, Language)}
    assert languages == {1: "en", 2: "de", 3: "de", 4: "de", 5: "de", 7: "en", 8: "en"}
    (mix,) = [f for f in found if isinstance(f, Finding) and f.example_id is None]
    assert "de 57%, en 43%" in mix.reason


def test_code_figures_and_one_language_are_no_mix() -> None:
    code = "```python\nfor item in items:\n    print(item.name, item.value)\n```"
    rows = [shown(1, QUESTION, code), shown(2, QUESTION, "1, 2, 3, 4, 5, 6, 7, 8, 9"), shown(3, QUESTION, ENGLISH)]
    assert [type(one).__name__ for one in seen("language_mix", rows)] == ["Language"]


# length_tokens, with a tokenizer that counts words


class WordTokens:
    """Every word is a token; one more ends the answer."""

    max_length = 12

    def counts(self, rows: Iterable[CheckedRow]) -> Iterable[TokenCount]:
        for row in rows:
            prompt = len(row.content.prompt[0].content.split())
            total = prompt + len(row.content.chosen[0].content.split()) + 1
            kept = min(total, self.max_length)
            yield TokenCount(row.id, "completion", prompt, total, kept, max(0, kept - prompt))


@pytest.mark.parametrize(
    ("question", "answer", "expected"),
    [(5, 6, []), (5, 7, ["warning"]), (11, 3, ["warning"]), (12, 1, ["error"]), (40, 1, ["error"])],
)
def test_rows_beyond_the_window_are_told_by_what_is_left_of_them(
    question: int, answer: int, expected: list[str]
) -> None:
    rows = [shown(1, "w " * question, "w " * answer)]
    found = look("length_tokens", rows, Surroundings(tokens=WordTokens()))  # type: ignore[arg-type]
    assert [f.severity.value for f in found] == expected


def test_without_a_tokenizer_no_tokens_are_counted() -> None:
    assert look("length_tokens", [shown(1, "w " * 50, "w")]) == []
