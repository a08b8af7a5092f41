"""A tokenizer of the declaration's own: byte-level BPE in which numbers may be whole.

A number that is always one token can be compared and copied by a very small model; one that is cut now here and now
there cannot. Whole numbers are put before all that is learned, with a merge for every way of halving them, so that
however a number's digits are joined the end is the one token.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import orjson

from teacherlm.core.errors import Mistake
from teacherlm.train.declaration import TokenizerSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END, PAD = "</s>", "<pad>"
_BLANK = "Ġ"
"""How byte-level BPE writes a blank."""
_NUMBER = re.compile(r" ?[0-9]+")
_TIME = re.compile(r"(?<!\d)\d{1,2}:[0-5]\d(?!\d)")


def train_tokenizer(spec: TokenizerSpec, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a tokenizer; the same texts give the same one.

    Words are cut as GPT-2 cuts them (Radford et al. 2019, section 2.2); every text can be written, byte by byte if need
    be. With `whole_numbers`, each number from 0 to it is one token, alone and after a blank, and so are the minutes 00
    to 59 if the texts tell times such as 7:05; other numbers are cut into those. With `letters`, ` (A)` and its like
    are one token each: cut in three, the letter is no neighbour of the option that it names.

    Returns:
        A transformers tokenizer with end and padding tokens, which pads on the left as generation needs it. It states
        no longest text: what a model can read is the model's to say, and a training's window is no limit of it.

    Raises:
        Mistake: there is no text, or the vocabulary has no room for bytes and numbers.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if spec.vocabulary is None:
        raise ValueError("this tokenizer is not to be trained")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = 2 + len(alphabet) + len(_numbers(spec.whole_numbers, minutes=True)) + spec.letters
    if spec.vocabulary < smallest:
        numbers = f" and the numbers to {spec.whole_numbers:,}" if spec.whole_numbers else ""
        raise Mistake(
            f"a vocabulary of {spec.vocabulary:,} has no room for 256 bytes{numbers}",
            f"write  vocabulary: {smallest + 256}  or more, or fewer whole_numbers",
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    seen = _Seen(texts, numbers=not spec.whole_numbers)
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocabulary - spec.letters,
        special_tokens=[AddedToken(END, special=True), AddedToken(PAD, special=True)],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(seen, trainer)
    if not seen.count:
        raise Mistake("there is no text to train a tokenizer on", "look at the data of the stages")
    if spec.whole_numbers:
        tokenizer = Tokenizer.from_str(_with_numbers(tokenizer.to_str(), spec, minutes=seen.times))
    tokenizer.add_tokens([AddedToken(f" ({letter})", normalized=False) for letter in ascii_uppercase[: spec.letters]])
    make: Any = PreTrainedTokenizerFast  # without types in transformers
    return make(  # type: ignore[no-any-return]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, padding_side="left"
    )


class _Seen:
    """Texts on their way to the trainer, looked at as they pass; without numbers where those are put in whole."""

    def __init__(self, texts: Iterable[str], *, numbers: bool) -> None:
        self._texts, self._numbers = texts, numbers
        self.count, self.times = 0, False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.count += 1
            self.times = self.times or _TIME.search(text) is not None
            # A line's end is a word of its own to GPT-2's expression, as a number is.
            yield text if self._numbers else _NUMBER.sub("\n", text)


def _numbers(highest: int, *, minutes: bool) -> list[str]:
    """Tokens of more than one character that numbers need; shorter ones first."""
    if not highest:
        return []
    plain = [str(number) for number in range(highest + 1)]
    if minutes:
        plain += [f"{minute:02d}" for minute in range(60)]
    both = dict.fromkeys([*plain, *(_BLANK + str(number) for number in range(highest + 1))])
    return sorted((token for token in both if len(token) > 1), key=lambda token: (len(token), token))


def _with_numbers(trained: str, spec: TokenizerSpec, *, minutes: bool) -> str:
    """The tokenizer's JSON with numbers before what was learned, cut to the vocabulary."""
    described = orjson.loads(trained)
    model = described["model"]
    by_id = sorted(model["vocab"], key=model["vocab"].__getitem__)
    learned = {"".join(pair) for pair in model["merges"]}
    numbers = _numbers(spec.whole_numbers, minutes=minutes)
    known = {*numbers, *(token for token in by_id if len(token) == 1)}
    merges = [
        [token[:at], token[at:]]
        for token in numbers
        for at in range(1, len(token))
        if token[:at] in known and token[at:] in known
    ]
    kept = [token for token in by_id if token not in learned]
    room = (spec.vocabulary or 0) - spec.letters - len(kept) - len(numbers)
    pairs = [pair for pair in model["merges"] if "".join(pair) not in known][:room]
    words = dict.fromkeys([*kept, *numbers, *("".join(pair) for pair in pairs)])
    model["vocab"] = {token: place for place, token in enumerate(words)}
    model["merges"] = merges + pairs
    return orjson.dumps(described).decode()
