"""A conversation becomes one prompt: by the model's chat template, or by a plain one for models without.

The plain form is one paragraph per message and an open one for the answer:

    System: You explain.

    User: Why does iron rust?

    Assistant:
"""

from __future__ import annotations

from typing import Any

from teacherlm.lm.load import LoadedModel
from teacherlm.teacher.server.errors import Unsupported
from teacherlm.teacher.server.wire import Wire


class Part(Wire):
    """A piece of a message; only text is understood."""

    type: str
    text: str | None = None


class Message(Wire):
    """One message of a conversation."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """Role and text.

        Raises:
            Unsupported: the message holds a picture or something else that is no text.
        """
        if isinstance(self.content, list):
            if any(part.type != "text" for part in self.content):
                raise Unsupported("Template error: only text is supported in messages", kind="template_error")
            text = "".join(part.text or "" for part in self.content)
        else:
            text = self.content or ""
        return {"role": self.role, "content": text} | ({"name": self.name} if self.name else {})


def render(loaded: LoadedModel, messages: list[Message]) -> tuple[str, bool]:
    """The prompt, and whether the tokenizer still has to add its begin token (templates write it themselves).

    Raises:
        Unsupported: the template refuses the conversation, as many do when roles do not alternate.
    """
    plain = [message.plain() for message in messages]
    if not getattr(loaded.tokenizer, "chat_template", None):
        return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in plain) + "\n\nAssistant:", True
    return _templated(loaded.tokenizer, plain), False


def _templated(tokenizer: Any, messages: list[dict[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
    except (TemplateError, ValueError, TypeError, KeyError, IndexError) as error:
        raise Unsupported(f"Template error: {error}", kind="template_error") from None
