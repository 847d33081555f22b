"""Tables of answers that refuse or speak of themselves as a model, in many languages, and of near misses."""

from __future__ import annotations

import pytest

from checking import demo, of_row, pair, raw, said, talk, thumb, user

REFUSALS = [
    *("I'm sorry, but I can't assist with that request.", "I’m sorry, but I cannot help with that."),
    *("Sorry, I am unable to provide medical advice.", "I cannot fulfill this request.", "I can't help with that."),
    *("I apologize, but I cannot provide that.", "I'm not able to help with that.", "I cannot assist you with this."),
    *("I won't be able to help with that.", "I must respectfully decline.", "I cannot in good conscience write this."),
    *(
        "Unfortunately, I can't provide legal advice.",
        "No, I can't help with that.",
        "I won't provide such information.",
    ),
    *("I'm sorry, but as an AI language model, I cannot help you.", "Sorry, I don't have access to your e-mail."),
    *(
        "I don't feel comfortable writing that.",
        "I'd rather not discuss that.",
        "That's not something I can help with.",
    ),
    *("It would be inappropriate for me to share this.", "Unfortunately, I do not have real-time data."),
    *("I cannot create content that promotes hate.", "I can't engage in that.", "I'm sorry, I can't do that."),
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Tut mir leid, das kann ich leider nicht beantworten.",
    "Dabei kann ich leider nicht weiterhelfen.",
    "Je suis désolé, mais je ne peux pas vous aider avec cela.",
    "Désolée, je ne suis pas en mesure de répondre.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti con questo.",
    "Het spijt me, maar ik kan je daar niet mee helpen.",
    "Przepraszam, ale nie mogę w tym pomóc.",
    "Tyvärr, jag kan inte hjälpa dig.",
    "Извините, но я не могу помочь с этим.",
    "Вибачте, але я не можу допомогти.",
    "Üzgünüm, ancak bu konuda yardımcı olamam.",
    "Xin lỗi, nhưng tôi không thể giúp việc đó.",
    "Maaf, saya tidak dapat membantu.",
    "عذرًا، لا أستطيع مساعدتك في ذلك.",
    "क्षमा करें, मैं इसमें आपकी मदद नहीं कर सकता।",
    "申し訳ありませんが、お手伝いできません。",
    "죄송하지만 그 요청은 도와드릴 수 없습니다.",
    "很抱歉，我无法协助。",
]
SELVES = [
    *(
        "As an AI language model, I do not have feelings.",
        "Well, as an AI, I have no body.",
        "I'm just an AI assistant.",
    ),
    *("I am ChatGPT, a model trained by OpenAI.", "I was created by Anthropic.", "I am Claude, an AI assistant."),
    *(
        "As of my last knowledge update in 2021, it was so.",
        "My knowledge cutoff is 2023.",
        "I am Gemini, made by Google.",
    ),
    *(
        "I am a large language model, trained by Google.",
        "As a large language model, I cannot see.",
        "I was built by Meta.",
    ),
    *("Als KI-Sprachmodell habe ich keine Meinung.", "Ich bin ein KI-Assistent und helfe gern."),
    *("En tant que modèle de langage, je ne sens rien.", "En tant qu'IA, je n'ai pas d'avis."),
    *("Como modelo de lenguaje, no tengo opinión.", "Como um modelo de linguagem, não sinto nada."),
    *("In quanto modello linguistico, non ho opinioni.", "Als taalmodel heb ik geen mening."),
    *("Как языковая модель, я не имею мнения.", "AI言語モデルとして、意見はありません。"),
    *("저는 AI 언어 모델입니다.", "作为一个AI语言模型，我没有感情。", "Yapay zeka dil modeli olarak duygularım yok."),
]
QUIET = [
    *("I am sorry that your kettle is broken. I have asked for a new one.", "Sorry, we are closed on Sunday."),
    *("Sorry to hear that! I can help you with a refund.", "I can't help but admire the tea.", "I do not know."),
    *("I cannot help noticing that it is green.", "Sorry, I couldn't help but laugh.", "I won't write to him again."),
    *("The hero said: I'm sorry, but I can't help with that any more, and left.", "You can't provide water in winter."),
    *("Unfortunately, I do not have enough flour for the cake.", "Unfortunately, the train was late."),
    *("Sorry, we cannot answer the phone on Sundays.", "I cannot support this wall alone; it needs a beam."),
    *("I can't do this without you, my love.", "I can not wait to see it."),
    *("GPT-3 is a language model developed by OpenAI.", "A language model predicts the next word."),
    *("She worked as an AI researcher.", "As an AI model improves, its loss falls.", "I am Gemini, born in June."),
    *(
        "My name is Claude Dupont, and I paint.",
        "Claude Monet painted water lilies.",
        "I am a Capricorn made by my mother.",
    ),
    *("I was trained by Google's first chef.", "The model was trained by Meta and OpenAI together."),
    *("The cost will decline, and nobody will be able to help it.", "It is not appropriate for children."),
    "Es tut mir leid, dass du krank bist. Das wird nicht lange dauern.",
    "Ich kann nicht sagen, wie sehr mir der Tee schmeckt.",
    "Lo siento, no pude ir a la fiesta.",
    "Je suis heureux. Je ne peux pas attendre.",
    "Non posso aspettare domani, mi dispiace.",
    "Desculpe o atraso, não posso comer glúten.",
    "Извините за опоздание, я не могу найти ключ.",
    "抱歉让您久等了。以下是答案。",
    "申し訳ありません、到着が遅れます。",
    "죄송합니다. 내일 다시 오겠습니다.",
    "क्षमा करें, गाड़ी देर से आएगी।",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_told(text: str) -> None:
    (found,) = of_row("boilerplate", demo(text))
    assert (found.severity.value, found.fixable) == ("warning", False) and "refusal" in found.reason
    assert found.place.startswith("chosen turn 1, characters 1-")


@pytest.mark.parametrize("text", SELVES)
def test_an_answer_that_speaks_as_a_model_is_told(text: str) -> None:
    (found,) = of_row("boilerplate", demo(text))
    assert found.severity.value == "warning" and "language model" in found.reason


@pytest.mark.parametrize("text", QUIET)
def test_politeness_and_talk_about_models_are_left_alone(text: str) -> None:
    assert of_row("boilerplate", demo(text)) == []


def test_only_what_is_imitated_counts() -> None:
    refusal = REFUSALS[0]
    looked_at = [
        talk(user(), said(refusal), user(), said("Sencha."), answer=3),
        pair(refusal, "No"),
        thumb(refusal, True),
    ]
    assert [len(of_row("boilerplate", content)) for content in looked_at] == [1, 1, 1]
    passed = [pair("Sencha.", refusal), thumb(refusal, False), raw(refusal), demo("Sencha.", refusal)]
    passed += [demo("Sencha.", system=refusal), talk(user(), said(refusal), user(), said("Sencha."))]
    assert [of_row("boilerplate", content) for content in passed] == [[]] * 6
