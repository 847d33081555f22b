"""A table of answers in another language than their question, and of those that were asked for."""

from __future__ import annotations

import pytest

from checking import demo, of_set, row
from workbench.domain.examples import Content

SAID = {
    "en": "Pour the water over the leaves when it has cooled a little, wait for two minutes and take them out again.",
    "de": "Gieße das Wasser über die Blätter, sobald es etwas abgekühlt ist, und nimm sie nach zwei Minuten heraus.",
    "fr": "Versez l'eau sur les feuilles quand elle a un peu refroidi, attendez deux minutes et retirez-les ensuite.",
    "es": "Vierta el agua sobre las hojas cuando se haya enfriado un poco, espere dos minutos y luego retírelas.",
    "ru": "Залейте листья водой, когда она немного остынет, подождите две минуты и выньте их из чайника.",
    "zh": "水稍微凉一点以后倒在茶叶上，等两分钟，然后把茶叶取出来，这样泡出来的茶味道最好。",
    "ja": "お湯が少し冷めたら茶葉に注ぎ、二分ほど待ってから茶葉を取り出してください。とてもおいしいです。",
}
ASKED = {
    "en": "Could you please explain to me how one brews a good cup of green tea at home?",
    "de": "Kannst du mir bitte erklären, wie man zu Hause eine gute Tasse grünen Tee zubereitet?",
    "fr": "Pouvez-vous m'expliquer comment on prépare une bonne tasse de thé vert à la maison ?",
    "es": "¿Podría explicarme, por favor, cómo se prepara una buena taza de té verde en casa?",
    "ru": "Объясните, пожалуйста, как приготовить дома хорошую чашку зелёного чая?",
    "zh": "请你告诉我在家里怎样才能泡出一杯好喝的绿茶，需要注意一些什么事情？",
    "ja": "家でおいしい緑茶を入れるにはどうすればよいか、詳しく教えていただけますか。",
}
OTHER = [("en", "de"), ("en", "fr"), ("de", "en"), ("fr", "en"), ("ru", "en"), ("zh", "en")]
OTHER += [("ja", "en"), ("en", "ru"), ("de", "fr"), ("zh", "ru")]
FINE: dict[str, Content] = {
    **{f"one language: {code}": demo(SAID[code], ASKED[code]) for code in SAID},
    "asked for": demo(SAID["de"], ASKED["en"] + " Answer in German."),
    "asked for in French": demo(SAID["en"], ASKED["fr"] + " Répondez en anglais."),
    "asked for in Spanish": demo(SAID["en"], ASKED["es"] + " Responda en inglés."),
    "by the system turn": demo(SAID["fr"], ASKED["en"], system="Always answer in French."),
    "a translation": demo(SAID["de"], f"Translate this sentence: {SAID['en']}"),
    "about a passage in another": demo(
        SAID["en"], f"Please sum up the following article in one or two sentences for me:\n\n{SAID['de'] * 3}"
    ),
    "a short answer": demo("Ja.", ASKED["en"]),
    "a short question": demo(SAID["de"], "Tee?"),
    "code": demo("```python\nfor leaf in leaves:\n    pour(leaf)\n```", ASKED["de"]),
    "a name in Chinese": demo("这款手机很好。", "iPhone 15 Pro Max"),
    "a word that is asked about": demo("你好", "What does 你好 mean and how is it written?"),
    "a short answer in a language that is named": demo("你好", "How do I say hello in Chinese?"),
    "a short term": demo("TCP/IP", "这个协议叫什么名字"),
    "code without a fence": demo("def area(r): return 3 * r", "写一个函数"),
    "figures": demo("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15", ASKED["fr"]),
}


@pytest.mark.parametrize(("asked", "answered"), OTHER)
def test_an_answer_in_another_language_is_told(asked: str, answered: str) -> None:
    (found,) = of_set("language_mix", [row(1, demo(SAID[answered], ASKED[asked]))])
    assert (found.example_id, found.severity.value, found.fixable) == (1, "warning", False)
    assert f"in {asked!r}, the answer in {answered!r}" in found.reason


SHORT = {
    "English, Chinese": ("What is the weather like?", "今天天气很好。", "Latin", "Chinese"),
    "English, two characters": ("What is the capital of China?", "北京", "Latin", "Chinese"),
    "English, Russian": ("How are you today?", "Хорошо.", "Latin", "Cyrillic"),
    "English, Japanese": ("Where is the tea?", "お茶はここです。", "Latin", "Japanese"),
    "Chinese, English": ("今天天气怎么样", "It is sunny and warm.", "Chinese", "Latin"),
    "Korean, Chinese": ("오늘 날씨 어때요", "今天天气很好。", "Korean", "Chinese"),
    "English, a long answer": ("What is green tea?", SAID["zh"], "Latin", "Chinese"),
}


@pytest.mark.parametrize("name", SHORT)
def test_a_short_answer_in_other_letters_is_told(name: str) -> None:
    asked, answered, first, second = SHORT[name]
    (found,) = of_set("language_mix", [row(1, demo(answered, asked))])
    assert first in found.reason.split(", the answer")[0] and second in found.reason.split(", the answer")[1]


@pytest.mark.parametrize("name", FINE)
def test_an_answer_as_it_was_asked_for_is_fine(name: str) -> None:
    assert of_set("language_mix", [row(1, FINE[name])]) == []
