"""What answers as `nano` while the package holds no trained teacher: a very small BLOOM with random weights.

To be deleted, with `_untrained` in `load.py`, when `nano_teacher/` holds the trained files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BloomConfig, BloomForCausalLM, PreTrainedTokenizerFast

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_ID = "teacherlm/nano-random"
WINDOW = 2048
"""Tokens of context."""
VOCABULARY = 512
SEED = 20231019
END, PAD = "</s>", "<pad>"

TEXT = """
A teacher explains a question before giving the answer. First come the fundamentals: the facts and the ideas that the
question rests on. Then comes the chain of thought, step by step, until the result is reached. Last come the common
mistakes, so that the student learns where others went wrong and why.
Iron rusts because it reacts with oxygen and water. The result is iron oxide. A common mistake is to think that only
salt water makes iron rust. Ice floats because frozen water is less dense than liquid water.
If a shop sells three apples for two coins, then nine apples cost six coins: nine divided by three is three, and three
times two is six. The answer is six. Let us check the steps again. The sum of the numbers is fifteen, the difference is
seven, and the product is forty-four.
Which of the following statements is true? The first statement says that the earth moves around the sun. The second
statement says that the sun moves around the earth. The answer is the first, because the planets move around the sun.
A sentence is true when it says of what is that it is. The premise does not contradict the hypothesis, but it does not
support it either. Therefore the answer is neutral. The writer of the review did not like the film; it is negative.
Today is Monday. What day will it be in ten days? A week has seven days, so ten days are one week and three days. Three
days after Monday is Thursday. A clock that shows half past four will show a quarter to six in seventy-five minutes.
You turn left, then right, then around. Which way do you face now? Start at the north and follow every turn in order.
Think about what is asked, write down what is known, and look for the rule which joins the two. Check the answer with
another method when you can. People who read with care make fewer mistakes than people who only guess.
"""
"""What the tokenizer learns its word pieces from."""


def build() -> tuple[Any, Any]:
    """The model (float32, CPU) and its tokenizer: always the same, and the global random state is left alone."""
    tokenizer = _tokenizer()
    model = _model()
    _lean(model, tokenizer)
    return model, tokenizer


def _lean(model: BloomForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make random words readable and finite.

    Lone bytes become rare and padding impossible to say; the end token becomes likelier, so that nine of ten greedy
    answers end by themselves, half of them within about 40 tokens.
    """
    with torch.no_grad():
        head = model.lm_head.weight
        head[[token for word, token in tokenizer.get_vocab().items() if len(word) == 1]] *= 0.5
        head[tokenizer.pad_token_id] = 0.0
        head[tokenizer.eos_token_id] *= 1.5


def _model() -> BloomForCausalLM:
    config = BloomConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        n_layer=2,
        n_head=4,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        # Wide enough that greedy text wanders instead of repeating one token.
        initializer_range=0.3,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    generator = torch.default_generator
    # Not `fork_rng` with `manual_seed`: that would reseed every GPU as well.
    before = generator.get_state()
    try:
        generator.manual_seed(SEED)
        return BloomForCausalLM(config)
    finally:
        generator.set_state(before)


def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(END, special=True), AddedToken(PAD, special=True)],
        # All 256 bytes, so that any text can be written and read back.
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(), trainer)
    make: Any = PreTrainedTokenizerFast  # without types in transformers
    return make(  # type: ignore[no-any-return]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=WINDOW, padding_side="left"
    )


def _lines() -> Iterator[str]:
    yield from TEXT.strip().splitlines()
