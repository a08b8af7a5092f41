"""Parameters that other servers know and this one does not: passing over them would change the answer unseen.

Names that nobody knows are passed over, as TGI does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teacherlm.teacher.server.errors import Invalid

EMPTY: tuple[Any, ...] = (None, {}, [], "")
"""Values that ask for nothing, whatever the parameter."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    # OpenAI's own.
    "best_of": (1,),
    "presence_penalty": (0,),
    "logit_bias": (),
    "functions": (),
    "function_call": ("none",),
    "modalities": (["text"],),
    "audio": (),
    # vLLM's, SGLang's and llama.cpp's: how tokens are chosen, and where an answer ends.
    "min_p": (0,),
    "length_penalty": (1,),
    "use_beam_search": (False,),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "stop_token_ids": (),
    "bad_words": (),
    "include_stop_str_in_output": (True,),
    "logits_processors": (),
    # What the prompt is made of.
    "echo": (False,),
    "prompt_logprobs": (False,),
    "truncate_prompt_tokens": (),
    "add_special_tokens": (True,),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "chat_template": (),
    "chat_template_kwargs": (),
    "documents": (),
    # What form the answer has.
    "grammar": (),
    "json_schema": (),
    "regex": (),
    "ebnf": (),
    "structured_outputs": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
}
"""The values of each, besides `EMPTY`, that change nothing here."""


def refuse(given: Mapping[str, Any] | None) -> None:
    """Look through what a body holds beyond the fields that are read.

    Raises:
        Invalid: something of it would change the answer; names it.
    """
    for name, value in (given or {}).items():
        if name in NEUTRAL and value not in EMPTY and value not in NEUTRAL[name]:
            raise Invalid(f"`{name}` is not supported by this server: leave it out")
