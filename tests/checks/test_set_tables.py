"""Tables of rows that repeat, contradict or stand out from each other, and of rows that only seem to."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from checking import call, demo, having, of_set, pair, raw, row, said, talk, thumb, told, user
from workbench.domain.checks import CheckedRow, Surroundings, TokenCount
from workbench.domain.examples import Content, Kind, Split

LONG = (
    "Pour the water over the leaves when it has cooled to eighty degrees, wait for two minutes, then take them out "
    "again and drink it slowly while the garden outside turns from grey to gold in the first light of the morning."
)
PASSAGE = " ".join(f"{word} stands in line {number}" for number, word in enumerate(LONG.split())) + "."
CHINESE = (
    "把水烧到八十度然后倒在茶叶上等两分钟再把茶叶取出来这样泡出来的绿茶味道最好也不会发苦，早上在院子里慢慢喝，"
    "看着阳光从山后面升起来照在花园的石头路上，鸟在树枝间唱歌，邻居家的孩子背着书包去上学，新的一天就这样开始了。"
)
THAI = (
    "เทน้ำร้อนลงบนใบชาเมื่อน้ำเย็นลงเหลือแปดสิบองศารอสองนาทีแล้วนำใบชาออกจากกาน้ำชาจึงจะได้ชาเขียวที่อร่อยที่สุด"
    "ตอนเช้านั่งดื่มช้าๆในสวนมองดูแสงแดดส่องผ่านภูเขาลงมาบนทางเดินหินนกร้องเพลงอยู่บนกิ่งไม้เด็กข้างบ้านสะพายกระเป๋าไปโรงเรียน"
)
JAPANESE = (
    "緑茶は、とても、おいしい。朝は、庭で飲む。紅茶も、いい。水を、八十度に、冷ます。二分待って、葉を出す。鳥が、鳴く。"
)
REVIEW = "Is the following review positive or negative: the tea was fine"


ASKED = "下面的评论是正面还是负面：茶很好喝"


def scene(text: str) -> Content:
    return demo("Sencha.", system=text)


SAME = {
    "word for word": (demo("Sencha."), demo("Sencha.")),
    "case and spacing": (demo("Sencha is green."), demo(" SENCHA  is\ngreen. ")),
    "a last full stop": (demo("Sencha."), demo("Sencha")),
    "a question mark": (demo("So.", "Green?"), demo("So.", "Green")),
    "spaces before it": (demo("So.", "Thé vert ?"), demo("So.", "Thé vert?")),
    "accents coded otherwise": (demo("caf\u00e9"), demo("cafe\u0301")),
    "a Chinese full stop": (demo("绿茶。"), demo("绿茶")),
    "pairs": (pair("Sencha.", "Assam."), pair("sencha", "ASSAM")),
    "thumbs": (thumb("Sencha.", True), thumb("sencha.", True)),
    "texts": (raw("Green tea."), raw("green  tea.")),
    "prompts alone": (Content(Kind.PROMPT, (user(),), ()), Content(Kind.PROMPT, (user("which TEA"),), ())),
    "calls under other ids": (
        talk(user(), call("brew", call_id="a"), told("4", call_id="a"), said()),
        talk(user(), call("brew", call_id="b"), told("4", call_id="b"), said()),
    ),
    "another spacing of the scene": (scene("Be brief."), scene("Be  brief. ")),
    "another weight": (demo("Sencha."), talk(user("Which tea is green?"), having(said(), weight=1))),
}
DIFFERENT = {
    "another answer": (demo("Sencha."), demo("Gyokuro.")),
    "another question": (demo("So.", "Green?"), demo("So.", "Black?")),
    "another scene": (scene("Be brief."), scene("Be rude.")),
    "another thumb": (thumb("Sencha.", True), thumb("Sencha.", False)),
    "a pair the other way": (pair("Sencha.", "Assam."), pair("Assam.", "Sencha.")),
    "another kind": (demo("Sencha."), thumb("Sencha.", True)),
    "other arguments": (talk(user(), call("brew", {"tea": "a"})), talk(user(), call("brew", {"tea": "b"}))),
    "other tools": (demo("Sencha."), replace(demo("Sencha."), tools='[{"name":"brew"}]')),
    "an accent": (demo("schon"), demo("schön")),
    "a power": (demo("10²"), demo("102")),
    "a factorial": (demo("24", "What is 4!?"), demo("24", "What is 4?")),
    "who says it": (talk(user("a"), said("b"), user("c"), said("d")), talk(user("a b c"), said("d"))),
    "a sign alone": (demo("?"), demo(".")),
}

CHANGED = LONG.replace("cooled", "fallen")
NEAR = {
    "one word": (demo(LONG), demo(CHANGED)),
    "case, points and commas": (demo(LONG), demo(LONG.upper().replace(",", ";"), "Which tea is green, then?")),
    "a word more in the question": (demo(LONG), demo(LONG, "Say, which tea is green?")),
    "texts with other figures": (raw(f"{LONG} Seen 12 times."), raw(f"{LONG} Seen 977 times.")),
    "pairs": (pair(LONG, "No."), pair(CHANGED, "No.")),
    "Chinese": (demo(CHINESE), demo("请" + CHINESE)),
    "Japanese with points": (raw(JAPANESE), raw(JAPANESE.replace("も、いい", "もいい"))),
    "Thai": (raw(THAI), raw(THAI.replace("สองนาที", "สามนาที", 1))),
    "calls": (
        talk(user(LONG), call("brew", {"how": LONG}), told("Done."), said("It is ready.")),
        talk(user(CHANGED), call("brew", {"how": LONG}), told("Done."), said("It is ready.")),
    ),
    "prompts alone": (Content(Kind.PROMPT, (user(LONG),), ()), Content(Kind.PROMPT, (user(CHANGED),), ())),
}
NOT_NEAR = {
    "another question on one passage": (
        demo("The water.", f"{PASSAGE}\nWhat stands first?"),
        demo("The morning light.", f"{PASSAGE}\nWhat stands last?"),
    ),
    "another label of one passage": (demo("positive", PASSAGE), demo("negative", PASSAGE.replace("water", "tea"))),
    "one mould with other figures": (demo(f"{LONG} It is 12.", "5 + 7?"), demo(f"{LONG} It is 13.", "6 + 7?")),
    "another half": (demo(LONG), demo(LONG[:100] + " or leave it, and have a glass of cold water.")),
    "short rows": (demo("Hi there"), demo("Hi there!", "Which tea is greener?")),
    "other datasets": (row(1, demo(LONG)), row(2, demo(CHANGED), dataset="other")),
    "the other side": (row(1, demo(LONG)), row(2, demo(CHANGED), split=Split.TEST)),
    "another kind": (demo(LONG), thumb(CHANGED, True)),
    "a dialogue that goes on": (
        talk(user(PASSAGE), said("It is about tea.")),
        talk(user(PASSAGE), said("It is about tea."), user("And when?"), said("In the morning.")),
    ),
    "other calls": (talk(user(PASSAGE), call("brew", {"tea": "a"})), talk(user(PASSAGE), call("pour", {"cup": 1}))),
    "the same scene": (demo("Sencha.", system=PASSAGE), demo("Assam.", "Which tea is black?", system=PASSAGE)),
    "another language": (demo(LONG), demo("Gieße das Wasser über die Blätter, wenn es kühl ist, und warte lang.")),
}

CLASH = {
    "both thumbs": (thumb("Sencha.", True), thumb("sencha", False), "warning"),
    "a pair both ways": (pair("Sencha.", "Assam."), pair("assam", "sencha."), "warning"),
    "two labels": (demo("positive", REVIEW), demo("negative", REVIEW), "info"),
    "two labels in Chinese": (demo("正面", ASKED), demo("负面", ASKED), "info"),
    "both thumbs in Russian": (thumb("Зелёный", True), thumb("зелёный", False), "warning"),
    "both thumbs on a call": (
        Content(Kind.JUDGEMENT, (user(),), (call("brew", call_id="a"),), label=True),
        Content(Kind.JUDGEMENT, (user(),), (call("brew", call_id="b"),), label=False),
        "warning",
    ),
    "with one scene": (thumb("So.", True, system="Be brief."), thumb("So.", False, system="be brief"), "warning"),
    "a pair of conversations": (
        Content(Kind.PREFERENCE, (user(),), (said("a"), user("c"), said("d")), (said("b"),)),
        Content(Kind.PREFERENCE, (user(),), (said("b"),), (said("a"), user("c"), said("d"))),
        "warning",
    ),
    "labels of three words": (demo("very much positive", REVIEW), demo("not at all", REVIEW), "info"),
    "with a question mark": (demo("yes", f"{REVIEW}?"), demo("no", REVIEW), "info"),
}
NO_CLASH = {
    "the same thumb": (thumb("Sencha.", True), thumb("sencha.", True)),
    "thumbs on two answers": (thumb("Sencha.", True), thumb("Assam.", False)),
    "thumbs under other scenes": (thumb("Arr!", True, system="A pirate."), thumb("Arr!", False, system="Be kind.")),
    "pairs under other scenes": (pair("a b", "c", system="Be long."), pair("c", "a b", system="Be brief.")),
    "labels under other scenes": (demo("1", REVIEW, system="1 is good."), demo("0", REVIEW, system="0 is good.")),
    "the same label": (demo("positive", REVIEW), demo("Positive.", REVIEW)),
    "labels of other questions": (demo("positive", REVIEW), demo("negative", f"{REVIEW} indeed")),
    "two long answers": (demo(LONG, REVIEW), demo(CHANGED, REVIEW)),
    "two long answers in Chinese": (demo(CHINESE, REVIEW), demo(CHINESE[2:], REVIEW)),
    "a short question": (demo("yes", "Hi"), demo("no", "Hi")),
    "other datasets": (row(1, thumb("So.", True)), row(2, thumb("So.", False), dataset="other")),
    "a third answer": (pair("Sencha.", "Assam."), pair("Sencha.", "Earl Grey.")),
    "calls with other arguments": (
        talk(user(REVIEW), call("rate", {"stars": 1})),
        talk(user(REVIEW), call("rate", {"stars": 2, "because": "the tea was fine"})),
    ),
}


def rows_of(*given: Content | CheckedRow) -> list[CheckedRow]:
    return [one if isinstance(one, CheckedRow) else row(number, one) for number, one in enumerate(given, start=1)]


@pytest.mark.parametrize("name", SAME)
def test_rows_that_say_the_same_are_duplicates(name: str) -> None:
    found = of_set("exact_duplicates", rows_of(*SAME[name]))
    assert [(f.example_id, f.severity.value, f.fixable) for f in found] == [(2, "warning", True)]
    assert "example 1" in found[0].reason


@pytest.mark.parametrize("name", DIFFERENT)
def test_rows_that_teach_something_else_are_no_duplicates(name: str) -> None:
    assert of_set("exact_duplicates", rows_of(*DIFFERENT[name])) == []


@pytest.mark.parametrize("name", NEAR)
def test_rows_that_are_nearly_the_same_are_found(name: str) -> None:
    found = of_set("near_duplicates", rows_of(*NEAR[name]))
    assert [(f.example_id, f.severity.value, f.fixable) for f in found] == [(2, "warning", True)]


@pytest.mark.parametrize("name", NOT_NEAR)
def test_rows_of_their_own_are_not_near(name: str) -> None:
    assert of_set("near_duplicates", rows_of(*NOT_NEAR[name])) == []


@pytest.mark.parametrize("name", CLASH)
def test_rows_that_contradict_each_other_are_told(name: str) -> None:
    one, other, severity = CLASH[name]
    found = of_set("conflicting_labels", rows_of(one, other))
    assert [(f.example_id, f.severity.value, f.fixable) for f in found] == [(2, severity, False)]


@pytest.mark.parametrize("name", NO_CLASH)
def test_rows_that_go_together_are_no_contradiction(name: str) -> None:
    assert of_set("conflicting_labels", rows_of(*NO_CLASH[name])) == []


# length_bias: (pairs of which the longer is better, the shorter, of like length), and how much longer


@pytest.mark.parametrize(
    ("longer", "shorter", "alike", "word"),
    [
        *((90, 10, 0, "longer"), (10, 90, 0, "shorter"), (30, 0, 0, "longer"), (0, 30, 0, "shorter")),
        *((800, 200, 0, "longer"), (700, 300, 0, "longer"), (90, 0, 10, "longer"), (95, 5, 20, "longer")),
        *((300, 700, 0, "shorter"), (40, 2, 0, "longer")),
        *((50, 50, 0, ""), (65, 35, 0, ""), (29, 0, 0, ""), (20, 2, 0, ""), (0, 0, 500, ""), (60, 0, 900, "")),
        *((10, 0, 300, ""), (660, 340, 0, ""), (35, 15, 0, ""), (0, 0, 0, "")),
    ],
)
def test_length_is_a_bias_when_it_tells_nearly_all_pairs(longer: int, shorter: int, alike: int, word: str) -> None:
    contents = [pair("a long answer " * 3, "short", f"q{n}") for n in range(longer)]
    contents += [pair("short", "a long answer " * 3, f"r{n}") for n in range(shorter)]
    contents += [pair("about the same length.", "about the same length", f"s{n}") for n in range(alike)]
    found = of_set("length_bias", rows_of(*contents))
    assert [f.example_id for f in found] == ([None] if word else [])
    assert not word or f"the {word} one in {max(longer, shorter) / len(contents):.0%}" in found[0].reason


def test_calls_have_a_length_too_and_every_dataset_counts_by_itself() -> None:
    calls = Content(Kind.PREFERENCE, (user(),), (call("brew", {"how": LONG}),), (said("No."),))
    rows = [row(n, calls) for n in range(40)] + [row(100 + n, pair("a", "long " * 9), dataset="b") for n in range(40)]
    assert ["longer" in f.reason for f in of_set("length_bias", rows)] == [True, False]
    assert of_set("length_bias", [row(n, demo(LONG)) for n in range(90)]) == []


# length_words: an odd one among these

WORDY, LABELS = [demo("word " * 80)] * 99, [demo("Paris")] * 99
ODD = {
    "far too long": ([*WORDY, demo("word " * 900)], "900 words"),
    "long among short": ([*LABELS, demo("word " * 500)], "500 words"),
    "one word": ([*WORDY, demo("Paris")], "one word"),
    "two words": ([*WORDY, demo("In Paris")], "2 words"),
    "a character": ([*WORDY, demo("茶")], "one word"),
    "long without spaces": ([*WORDY, demo("A" * 60_000)], "2,500 words"),
    "long in Chinese": ([demo(CHINESE)] * 99 + [demo(CHINESE * 30)], "words"),
    "a long text": ([raw("word " * 80)] * 99 + [raw("word " * 900)], "a text of 900"),
    "a long call": ([*WORDY, talk(user(), call("brew", {"how": "word " * 900}))], "words"),
    "a long pair": ([pair("word " * 80, "no")] * 99 + [pair("word " * 900, "no")], "900 words"),
}
USUAL = {
    "all alike": [*WORDY, demo("word " * 80)],
    "four times as long": [*WORDY, demo("word " * 320)],
    "a short sentence": [*WORDY, demo("It is in Paris, France.")],
    "many labels": [*WORDY * 3, *[demo("Paris")] * 30],
    "labels alone": [*LABELS, demo("Rome")],
    "few rows": [*[demo("word " * 80)] * 40, demo("Paris")],
    "a short answer in Chinese": [demo(CHINESE)] * 99 + [demo("绿茶要用八十度的水来泡")],
    "the rejected answer": [pair("word " * 80, "no")] * 99 + [pair("word " * 80, "word " * 900)],
    "no answer": [*WORDY, Content(Kind.PROMPT, (user("word " * 900),), ())],
    "a long one where many are": [*WORDY, *[demo("word " * 900)] * 30],
}


@pytest.mark.parametrize("name", ODD)
def test_an_answer_unlike_all_others_is_told(name: str) -> None:
    contents, words = ODD[name]
    (found,) = of_set("length_words", rows_of(*contents))
    assert found.example_id == len(contents) and words in found.reason and found.place == "chosen turn 1"


@pytest.mark.parametrize("name", USUAL)
def test_an_answer_like_others_is_not(name: str) -> None:
    assert of_set("length_words", rows_of(*USUAL[name])) == []


def test_another_dataset_and_another_kind_have_their_own_lengths() -> None:
    rows = [row(n, demo("word " * 80)) for n in range(90)]
    rows += [row(100 + n, demo("Paris"), dataset="b") for n in range(90)]
    rows += [row(300 + n, thumb("Yes", True)) for n in range(90)]
    assert of_set("length_words", rows) == []


# length_tokens: what the tokenizer counted, as (part, prompt, total), in a window of 12


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([("completion", 5, 13)], ["warning"]),
        ([("completion", 11, 13)], ["warning"]),
        ([("completion", 11, 40)], ["warning"]),
        ([("completion", 12, 14)], ["error"]),
        ([("completion", 40, 41)], ["error"]),
        ([("completion", 5, 5)], ["error"]),
        ([("chosen", 5, 13), ("rejected", 5, 8)], ["warning"]),
        ([("chosen", 5, 13), ("rejected", 5, 14)], ["warning", "warning"]),
        ([("chosen", 12, 14), ("rejected", 12, 15)], ["error"]),
        ([("chosen", 5, 8), ("rejected", 5, 5)], ["error"]),
        ([("completion", 3, 6), ("completion", 20, 24)], ["warning"]),
        ([("completion", 3, 14), ("completion", 20, 24)], ["warning", "warning"]),
        ([("completion", 14, 16), ("completion", 20, 24)], ["error"]),
        ([("completion", 5, 12)], []),
        ([("completion", 0, 12)], []),
        ([("completion", 11, 12)], []),
        ([("completion", 1, 2)], []),
        ([("chosen", 5, 12), ("rejected", 5, 6)], []),
        ([("completion", 3, 6), ("completion", 8, 12)], []),
        ([], []),
    ],
)
def test_what_the_window_cuts_is_told_once_by_what_is_left(
    counts: list[tuple[str, int, int]], expected: list[str]
) -> None:
    found = of_set("length_tokens", [row(1, demo("So."))], Surroundings(tokens=Counted(counts)))  # type: ignore[arg-type]
    assert [f.severity.value for f in found] == expected
    assert all(f.fixable == (f.severity.value == "error") for f in found)


class Counted:
    """A tokenizer that has counted already."""

    max_length = 12

    def __init__(self, counts: list[tuple[str, int, int]]) -> None:
        self._counts = counts

    def counts(self, rows: object) -> list[TokenCount]:
        assert [one.id for one in rows] == [1]  # type: ignore[attr-defined]
        kept = [min(total, self.max_length) for _, _, total in self._counts]
        return [
            TokenCount(1, part, prompt, total, fits, max(0, fits - prompt))
            for (part, prompt, total), fits in zip(self._counts, kept, strict=True)
        ]


def test_texts_and_prompts_alone_are_not_counted() -> None:
    class Refuses(Counted):
        def counts(self, rows: object) -> list[TokenCount]:
            assert list(rows) == []  # type: ignore[call-overload]
            return []

    alone = [row(1, raw(LONG)), row(2, Content(Kind.PROMPT, (user(),), ()))]
    assert of_set("length_tokens", alone, Surroundings(tokens=Refuses([]))) == []  # type: ignore[arg-type]


def test_a_mould_with_thousands_of_rows_takes_no_more_comparisons_than_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    from workbench.checks import near_duplicates

    compared = 0
    near = near_duplicates._near

    def counting(one: object, other: object) -> float:
        nonlocal compared
        compared += 1
        return near(one, other)  # type: ignore[arg-type]

    monkeypatch.setattr(near_duplicates, "_near", counting)
    draw = random.Random(3)
    rows = [row(n, demo(f"{LONG} It is {draw.randrange(10**6)}.")) for n in range(300)]
    assert of_set("near_duplicates", rows) == []
    assert compared <= 300 * near_duplicates._MOST_COMPARED
