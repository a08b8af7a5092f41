"""How a sample reads as text: the paper's form (TeacherLM, arXiv 2310.19019, section 3 and its examples)."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase

from teacherlm.text.normalise import one_line

MAX_CHOICES = len(ascii_uppercase)
"""Options are lettered (A) to (Z)."""


def question_text(question: str, choices: Sequence[str]) -> str:
    """The question with its lettered options.

    >>> question_text("Does iron rust?", ["True", "False"])
    'Q: Does iron rust? (A) True (B) False'
    """
    parts = [f"Q: {one_line(question)}"]
    parts += [f"({letter}) {one_line(choice)}" for letter, choice in zip(ascii_uppercase, choices, strict=False)]
    return " ".join(parts)


def gold(choices: Sequence[str], answer: str) -> str:
    """The gold answer as the paper writes it: the option's letter in brackets, or the text.

    >>> gold(["True", "False"], "False"), gold([], "12")
    ('(B)', '12')
    """
    if choices:
        return f"({ascii_uppercase[list(choices).index(answer)]})"
    return one_line(answer)


def hinted_text(question: str, choices: Sequence[str], answer: str) -> str:
    """The question with its gold answer marked, as STaR hints at it (Zelikman et al. 2022, section 3.2).

    >>> hinted_text("Does iron rust?", ["True", "False"], "True")
    'Q: Does iron rust? (A) True (CORRECT) (B) False'
    >>> hinted_text("What is 3 + 4?", [], "7")
    'Q: What is 3 + 4? (CORRECT: 7)'
    """
    if not choices:
        return f"{question_text(question, choices)} (CORRECT: {one_line(answer)})"
    marked = list(choices)
    place = marked.index(answer)
    marked[place] = f"{marked[place]} (CORRECT)"
    return question_text(question, marked)


def sample_text(question: str, choices: Sequence[str], answer: str) -> str:
    """The whole sample, question and gold answer.

    >>> sample_text("Does iron rust?", ["True", "False"], "True")
    'Q: Does iron rust? (A) True (B) False A: The answer is (A).'
    >>> sample_text("What is 3 + 4?", [], "7")
    'Q: What is 3 + 4? A: The answer is 7.'
    """
    stated = gold(choices, answer)
    stop = "" if stated.endswith((".", "!", "?")) else "."
    return f"{question_text(question, choices)} A: The answer is {stated}{stop}"
