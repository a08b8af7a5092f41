"""Things that people lose and find, compare and share, and how old they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, THINGS, Wordings


class Story(Family):
    """Losing and finding, in either order."""

    name = "story"
    about = "How many things are there after some are lost and some are found."
    offsets = ((4, 5, 6, 7), (1, 2))
    _losing = Wordings(
        "{name} has {a} {things}, loses {b} and finds {c}. How many {things} does {name} have now?",
        "{name} starts with {a} {things}. {name} gives away {b} and then gets {c}. How many {things} are there now?",
        "There are {a} {things} in a box. {name} takes out {b} and then puts in {c}. How many {things} are in the box?",
        name=NAMES,
        things=THINGS,
    )
    _finding = Wordings(
        "{name} has {a} {things}, finds {b} and loses {c}. How many {things} does {name} have now?",
        "{name} starts with {a} {things}. {name} gets {b} and then gives away {c}. How many {things} are there now?",
        "There are {a} {things} in a box. {name} puts in {b} and then takes out {c}. How many {things} are in the box?",
        name=NAMES,
        things=THINGS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """How many at first, what happens first, and after it: +5 or -5."""
        for a in range(11, 51):
            for b in range(2, 10):
                for c in range(2, 10):
                    if b != c:
                        yield a - b + c, (a, -b, c)
                        yield a + b - c, (a, b, -c)

    def wordings(self, core: Parameters) -> Wordings:
        return self._losing if int(core[1]) < 0 else self._finding

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": abs(int(core[1])), "c": abs(int(core[2]))}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, first, then = (int(number) for number in core)
        between, b, c = a + first, abs(first), abs(then)
        if first < 0:
            steps = f"First {a} - {b} = {between}. Then {between} + {c} = {answer}."
            facts = "What goes away is subtracted first, and what comes is then added."
            slip = f"Whoever adds what goes away gets {a} + {b} = {a + b}, and {a + b} + {c} = {a + b + c} is too many."
        else:
            steps = f"First {a} + {b} = {between}. Then {between} - {c} = {answer}."
            facts = "What comes is added first, and what goes away is then subtracted."
            slip = (
                f"Whoever adds what goes away gets {a} + {b} = {between}, "
                f"and {between} + {c} = {between + c} is too many."
            )
        return Texts(facts, f"{steps} The result is {answer}.", slip)


class Compare(Family):
    """By how much one number is larger."""

    name = "compare"
    about = "How many more, or fewer, of two people's things."
    offsets = ((10,), (1, 2))
    _wordings = Wordings(
        "{name} has {a} {things} and {other} has {b}. How many {more} does {name} have than {other}?",
        "{name} has {a} {things} and {other} has {b} {things}. By how many does {name} have {more} than {other}?",
        "A red box holds {a} {things} and a blue box {b}. How many {more} {things} are in the red box?",
        name=NAMES,
        other=NAMES,
        things=THINGS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """Whose are asked for first. There is a full ten between the two, and neither is one."""
        for a in range(11, 80):
            for b in range(11, 80):
                low, high = min(a, b), max(a, b)
                if high // 10 > low // 10 and a % 10 and b % 10:
                    yield high - low, (a, b)

    def asked(self, core: Parameters) -> Parameters:
        return tuple(sorted(int(number) for number in core))

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": core[1], "more": "more" if int(core[0]) > int(core[1]) else "fewer"}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        low, high = sorted(int(number) for number in core)
        ten = low - low % 10 + 10
        start = f"{low} is less than {high}."
        ways = f"From {low} to {ten} it is {ten - low}. From {ten} to {high} it is {high - ten}."
        return Texts(
            "Two numbers are compared by counting up from the smaller one, to the next ten and on to the larger one.",
            f"{start} {ways} {ten - low} + {high - ten} = {answer}. The result is {answer}.",
            f"{start} {ways} Whoever forgets the way from {low} to {ten} says {high - ten}, "
            f"which is {ten - low} too small.",
        )


class Share(Family):
    """The rest in equal parts."""

    name = "share"
    about = "What each friend gets when some things are kept and the rest is shared."
    offsets = ((2, 3, 4), (1,))
    _wordings = Wordings(
        "{name} has {a} {things}, keeps {b} and shares the rest equally among {n} friends. "
        "How many {things} does each friend get?",
        "{name} finds {a} {things}. {b} are broken, and {n} children share the others equally. "
        "How many {things} does each child get?",
        "Of {a} {things} {name} takes {b}. The others go into {n} bags, the same number in each. "
        "How many {things} are in a bag?",
        name=NAMES,
        things=THINGS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """How many there are, how many are kept, and among how many the rest is shared."""
        for each in range(2, 13):
            for n in range(2, 10):
                for b in range(2, 10):
                    yield each, (each * n + b, b, n)

    def wordings(self, core: Parameters) -> Wordings:
        return self._wordings

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return dict(zip("abn", core, strict=True))

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, b, n = (int(number) for number in core)
        return Texts(
            "What is not shared is taken away first, and the rest is divided by the number of equal parts.",
            f"{a} - {b} = {a - b} are left to share. {a - b} / {n} = {answer}. The result is {answer}.",
            f"{a} - {b} = {a - b} are left to share. "
            f"Whoever forgets to divide by {n} says {a - b}, which is too many for each.",
        )


class Age(Family):
    """How old somebody will be."""

    name = "age"
    about = "How old somebody will be who is older or younger than somebody else."
    offsets = ((4, 5, 6, 7), (1, 2))
    _older = Wordings(
        "{name} is {a} years old. {other} is {b} years older. How old will {other} be in {c} years?",
        "{other} is {b} years older than {name}, who is {a} years old. How old will {other} be in {c} years?",
        "{other} was born {b} years before {name}, who is {a} years old. How old will {other} be {c} years from now?",
        name=NAMES,
        other=NAMES,
    )
    _younger = Wordings(
        "{name} is {a} years old. {other} is {b} years younger. How old will {other} be in {c} years?",
        "{other} is {b} years younger than {name}, who is {a} years old. How old will {other} be in {c} years?",
        "{other} was born {b} years after {name}, who is {a} years old. How old will {other} be {c} years from now?",
        name=NAMES,
        other=NAMES,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """The known age, how many years older (or, below 0, younger), and the years to come."""
        for a in range(11, 51):
            for b in (*range(-9, -1), *range(2, 10)):
                for c in range(2, 10):
                    yield a + b + c, (a, b, c)

    def wordings(self, core: Parameters) -> Wordings:
        return self._older if int(core[1]) > 0 else self._younger

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"a": core[0], "b": abs(int(core[1])), "c": core[2]}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        a, b, c = (int(number) for number in core)
        other, now = drawn["other"], a + b
        today = f"Today {other} is {a} {'+' if b > 0 else '-'} {abs(b)} = {now}."
        rule = "added to" if b > 0 else "subtracted from"
        return Texts(
            f"Years that somebody is {'older' if b > 0 else 'younger'} are {rule} the known age, "
            "and years to come are added.",
            f"{today} In {c} years {other} is {now} + {c} = {answer}. The result is {answer}.",
            f"{today} Whoever forgets the {c} years to come says {now}, which is {c} too young.",
        )
