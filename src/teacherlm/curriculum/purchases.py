"""What things cost, and what is left of the money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from teacherlm.curriculum.arithmetic import LARGEST
from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, Wordings

SEVERAL = (
    "pens", "books", "cups", "caps", "toys", "lamps", "balls", "plants", "scarves", "masks", "kites", "plates",
)  # fmt: skip
DEAR = ("coat", "bag", "lamp", "chair", "watch", "ring", "jacket", "table", "clock", "blanket")
CHEAP = ("pen", "cup", "card", "ball", "cap", "book", "plant", "brush", "comb", "candle")


class Shop(Family):
    """Two products and a sum."""

    name = "shop"
    about = "What several things of two sorts cost in all."
    offsets = ((3, 4, 5, 6, 7, 8, 9), (1, 2))
    _wordings = Wordings(
        "{name} buys {a} {ones} at {p} dollars each and {b} {twos} at {q} dollars each. "
        "How many dollars does {name} pay?",
        "A shop sells {ones} for {p} dollars and {twos} for {q} dollars. "
        "How many dollars do {a} {ones} and {b} {twos} cost?",
        "What do {a} {ones} at {p} dollars each and {b} {twos} at {q} dollars each cost in dollars?",
        name=NAMES,
        ones=SEVERAL,
        twos=SEVERAL,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """Number and price of the first sort, then of the second."""
        digits = range(2, 9)
        for a in digits:
            for p in digits:
                for b in digits:
                    for q in digits:
                        if a * p + b * q <= LARGEST:
                            yield a * p + b * q, (a, p, b, q)

    def asked(self, core: Parameters) -> Parameters:
        return min(core, core[2:] + core[:2])

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return dict(zip("apbq", core, strict=True))

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, p, b, q = (int(number) for number in core)
        ones, twos = drawn["ones"], drawn["twos"]
        return Texts(
            f"The cost is the number of {ones} times their price, plus the number of {twos} times their price.",
            f"The {ones} cost {a} x {p} = {a * p}. The {twos} cost {b} x {q} = {b * q}. "
            f"{a * p} + {b * q} = {answer}. The result is {answer}.",
            f"The {ones} cost {a} x {p} = {a * p}. Whoever counts only one of the {b} {twos} adds {q}: "
            f"{a * p} + {q} = {a * p + q}, which is too little.",
        )


class Change(Family):
    """What comes back."""

    name = "change"
    about = "The money that is left after two things are paid."
    offsets = ((10, 7, 8), (1, 2))
    _wordings = Wordings(
        "{name} buys a {dear} for {p} dollars and a {cheap} for {q} dollars and pays with {paid} dollars. "
        "How many dollars does {name} get back?",
        "{name} has {paid} dollars. A {dear} costs {p} dollars and a {cheap} costs {q} dollars. "
        "How many dollars are left when {name} buys both?",
        "A {dear} costs {p} dollars and a {cheap} costs {q} dollars. "
        "How many dollars are left of {paid} dollars after both are paid?",
        name=NAMES,
        dear=DEAR,
        cheap=CHEAP,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """The money in full tens, a price of two digits and one of one."""
        for paid in range(20, 71, 10):
            for p in range(11, 51):
                for q in range(2, 10):
                    if paid - p - q >= 1:
                        yield paid - p - q, (paid, p, q)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"paid": core[0], "p": core[1], "q": core[2]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        paid, p, q = (int(number) for number in core)
        dear, cheap = drawn["dear"], drawn["cheap"]
        return Texts(
            f"What is left is the money minus all that is paid, for the {dear} and for the {cheap}.",
            f"Both cost {p} + {q} = {p + q}. {paid} - {p + q} = {answer}. The result is {answer}.",
            f"Whoever forgets to pay for the {cheap} takes away the {dear} alone: "
            f"{paid} - {p} = {paid - p}, which is {q} too much.",
        )
