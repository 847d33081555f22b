"""A model's side of text: messages to tokens through its chat template, and tokens to text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from workbench.worker.engine.wire import Refusal


@dataclass(frozen=True)
class Speaker:
    """A tokenizer with its chat template, and the tokens that end an answer."""

    tokenizer: Any
    end_ids: frozenset[int]

    def encode(self, turns: Sequence[dict[str, str]], *, go_on: bool = False) -> list[int]:
        """The prompt's token ids, ready for the answer, or with ``go_on`` for the rest of the last turn.

        Raises ``Refusal`` when the chat template says no.
        """
        if not self.tokenizer.chat_template:
            hint = "use a chat model, or give its folder a chat_template.jinja"
            raise Refusal("this model has no chat template", code="no_chat_template", hint=hint)
        try:
            text = self.tokenizer.apply_chat_template(
                list(turns), add_generation_prompt=not go_on, continue_final_message=go_on, tokenize=False
            )
        except TemplateError as error:
            raise Refusal(f"the model's chat template refused: {error}", code="chat_template_error") from None
        except ValueError:  # its words have the whole chat in them
            if not go_on:
                raise
            message = "this answer cannot be gone on with: the model's chat template changes what it says"
            raise Refusal(message, code="cannot_go_on", hint="ask for another answer instead") from None
        if go_on:
            text += _missing_end(text, turns[-1]["content"])
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, tokens: Sequence[int]) -> str:
        """Text without special tokens."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def shown(self, token: int) -> str:
        """One token by itself, special or not; a part of a character is a replacement character."""
        return self.tokenizer.decode([token], skip_special_tokens=False, clean_up_tokenization_spaces=False)


def _missing_end(text: str, content: str) -> str:
    """The blanks at the end of ``content`` that the template left out: the answer goes on behind them."""
    end = content[len(content.rstrip()) :]
    return "" if text.endswith(end) else end


def end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens with which the model ends an answer, by its generation settings and its tokenizer."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(i for i in (*several, tokenizer.eos_token_id) if i is not None)
