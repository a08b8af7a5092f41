"""How many tokens prompts have: by the teacher's own tokenizer, by a local one, or estimated, and which it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teacherlm.core.errors import MissingExtra, Mistake, RemoteFailed
from teacherlm.teacher.client import Teacher, Timeout
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.profile import TeacherProfile
from teacherlm.teacher.wire import Info, Prompt

PER_TOKEN = 4
"""Characters of a token in English text, roughly; for want of a tokenizer."""

AT_ONCE = 32


@dataclass(frozen=True)
class Counted:
    """Tokens of prompts, and what is known of the teacher's limits."""

    tokens: Sequence[int]
    by: str
    """What counted them, for people."""
    info: Info | None = None
    """What the teacher says of itself, where one was reached."""


def count_tokens(prompts: Sequence[Prompt], profile: TeacherProfile | None, tokenizer: str | None) -> Counted:
    """Count the tokens of prompts; a teacher is asked who it is and for its tokens alone.

    Args:
        profile: the teacher, if one was named.
        tokenizer: a folder, a `tokenizer.json` or a Hub id, to count with in its place.

    Raises:
        Mistake: no such tokenizer.
        RemoteFailed: the Hub cannot be reached for it.
    """
    count = local_tokenizer(tokenizer) if tokenizer else None
    if profile is None or not profile.endpoints:
        said = "no teacher was named" if profile is None else "the teacher is not running"
        return _here(prompts, count, tokenizer, said, None)
    try:
        # In a thread of its own: in a notebook this one runs a loop already.
        with ThreadPoolExecutor(1) as thread:
            info, tokens = thread.submit(asyncio.run, _asked(profile, () if count else prompts)).result()
    except TeacherLost as error:
        return _here(prompts, count, tokenizer, error.found, None)
    if count is None and tokens is not None:
        return Counted(tokens, f"the tokenizer of {info.model}", info)
    return _here(prompts, count, tokenizer, f"{profile.endpoints[0]} does not count tokens", info)


def _here(
    prompts: Sequence[Prompt], count: Callable[[str], int] | None, tokenizer: str | None, said: str, info: Info | None
) -> Counted:
    if count is not None:
        return Counted([sum(map(count, _texts(prompt))) for prompt in prompts], f"the tokenizer {tokenizer}", info)
    tokens = [-(-sum(map(len, _texts(prompt))) // PER_TOKEN) for prompt in prompts]
    return Counted(tokens, f"an estimate, characters / {PER_TOKEN}: {said}", info)


def _texts(prompt: Prompt) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]


async def _asked(profile: TeacherProfile, prompts: Sequence[Prompt]) -> tuple[Info, list[int] | None]:
    seats = asyncio.Semaphore(AT_ONCE)
    timeout = Timeout(connect_s=profile.connect_s)
    async with Teacher(profile.endpoints, timeout=timeout, model=profile.model) as teacher:
        info = await teacher.info()

        async def one(prompt: Prompt) -> int | None:
            async with seats:
                return await teacher.tokens(prompt)

        if prompts and await one(prompts[0]) is None:
            return info, None
        found = await asyncio.gather(*map(one, prompts))
    counted = [tokens for tokens in found if tokens is not None]
    return info, counted if len(counted) == len(prompts) else None


def local_tokenizer(name: str) -> Callable[[str], int]:
    """A function that counts the tokens of a text.

    Args:
        name: a `tokenizer.json`, a folder that holds one, or a Hub id.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtra("--tokenizer", "local") from None
    path = Path(name)
    file = path / "tokenizer.json" if path.is_dir() else path
    tokenizer: Any
    if file.is_file():
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises Exception itself
            raise Mistake(f"is no tokenizer: {error}", "give a tokenizer.json", str(file)) from None
    elif path.exists() or name.count("/") != 1 or name.startswith((".", "/")):
        raise Mistake("there is no tokenizer.json", "give a file, a folder with one, or a Hub id", name)
    else:
        try:
            tokenizer = Tokenizer.from_pretrained(name)
        except Exception as error:  # tokenizers raises Exception itself
            said = str(error).splitlines()[0][:200]
            raise RemoteFailed(f"cannot read the tokenizer {name} ({said})", "give a local tokenizer.json") from None
    return lambda text: len(tokenizer.encode(text).ids)
