"""Every figure of a quickstart run: what its page, its table, its claims and its JSON are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from teacherlm.text.normalise import one_line

PLAIN, CHAIN_FIRST = "plain", "chain-first"
"""The two students."""

ALL = "all"
"""In the place of a family: the texts of all of them."""

Way = Literal["options", "writing"]
"""How a student is asked: `options`, the most probable of the options, nothing is written; `writing`, it writes as it
was taught to and the answer is taken from its text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A count among others, and the 95 % interval of the share behind it (Wilson, by the design effect)."""

    right: int
    of: int
    distinct: int
    """Different contents of these questions, or different gold texts of these explanations. Those of one are not
    independent, and the interval allows for it."""
    low: float
    high: float

    @property
    def share(self) -> float:
        """Between 0 and 1; 0 where nothing was counted."""
        return self.right / self.of if self.of else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Exactness:
    """How many texts of one family and kind are the curriculum's own, letter for letter."""

    family: str
    """`all` for the texts of all families."""
    kind: str
    rate: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What the rules made of one kind's texts, beside whether these are exact."""

    kind: str
    asked: int
    accepted: int
    rejected: int
    truncated: int
    failed: int
    exact_of_accepted: Rate
    """Exact texts among those accepted."""
    refused_of_wrong: Rate
    """Texts not accepted (rejected, truncated or failed) among those that are not exact."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Teacher:
    """Who explained."""

    name: str
    trained_here: bool
    """By this run (`--from-scratch`), not shipped."""
    declaration: str | None
    """What trained it in this run, `train/DECLARATION.yaml`; None: it is the shipped one."""
    parameters: int
    texts: int
    """Texts of the dataset that it wrote, those of the examples included."""
    asked_now: int
    """Of these, texts that this run asked for; the others were in the ledger."""
    texts_per_second: float | None
    """Of the run that asked for them, the server's start included; None where it is not known any more."""
    exactness: tuple[Exactness, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A place on a curve of training."""

    tokens: int
    loss: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FamilyScore:
    """One family's part of a score."""

    family: str
    rate: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How many test questions a student answers, asked in one way."""

    student: str
    way: Way
    rate: Rate
    unanswered: int
    """Texts in which no answer was found, or none that is an option; they count as wrong."""
    families: tuple[FamilyScore, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """What was trained."""

    name: str
    layout: str
    """What it reads and writes (train/layouts.yaml)."""
    parameters: int
    texts: int
    """Texts that it read once an epoch."""
    tokens: int
    """Tokens that it read in all."""
    steps: int
    seconds: float
    loss: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Two scores on the same questions, question by question."""

    first: str
    first_way: Way
    second: str
    second_way: Way
    points: float
    """Accuracy of the second less that of the first, in percentage points."""
    low: float
    high: float
    """95 % interval of `points`, by the paired bootstrap over contents."""
    p_value: float
    """The exact sign-flip test over contents; McNemar's where each question has a content of its own."""
    distinct: int
    """Different contents of the questions."""

    @property
    def is_significant(self) -> bool:
        """The interval leaves 0 out, and the test agrees at 5 %."""
        return self.p_value < 0.05 and (self.low > 0 or self.high < 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """Guessing from the options alone, the question unseen. The intervals take questions of one content as all alike,
    so they are rather too wide."""

    rate: Rate
    chance: float
    about: str
    """How it guesses."""
    rule: Rate
    """The same by one rule for each family, such as "the second largest": the one that was right most often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step of the run."""

    name: str
    did: str
    """What came out of it, in a few words with numbers."""
    seconds: float
    """When it was last done; 0.0 where it has never taken time."""
    done_now: bool
    """False where nothing had changed since an earlier run, whose seconds these are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """A text of the teacher."""

    kind: str
    text: str | None
    """None: there is none."""
    gold: str
    """What the curriculum says."""
    verdict: str
    reasons: tuple[str, ...]
    """What the rules found."""

    @property
    def is_exact(self) -> bool:
        """Blanks do not count."""
        return self.text is not None and one_line(self.text) == one_line(self.gold)


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a student answered."""

    student: str
    way: Way
    text: str
    """What it wrote; the chosen option where it did not write."""
    answer: str | None
    is_right: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A test question, what the teacher wrote about it, and what the students said."""

    sample_id: str
    family: str
    question: str
    choices: tuple[str, ...]
    answer: str
    texts: tuple[Text, ...]
    said: tuple[Said, ...]

    @property
    def is_flawed(self) -> bool:
        """Something in it is wrong: a text that was not accepted or is not exact, or an answer."""
        wrong = any(text.verdict != "accepted" or not text.is_exact for text in self.texts)
        return wrong or any(not said.is_right for said in self.said)


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """How large the run was, and the seeds of its questions."""

    questions: int
    """Explained by the teacher and read by the students."""
    questions_declared: int
    """What the declaration has; another number was asked for where they differ."""
    test: int
    test_seed: int
    steps: int | None
    """Limit on the steps of each training; None: as declared."""
    families: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Where it ran."""

    cores: int
    python: str
    torch: str
    teacherlm: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One run."""

    size: Size
    machine: Machine
    teacher: Teacher
    judged: tuple[Judged, ...]
    control: Control
    students: tuple[Student, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    steps: tuple[Step, ...]
    examples: tuple[Example, ...]
    published_to: str
    published_rows: int
    """As `datasets.load_dataset` counts them, in a process of its own."""

    def score(self, student: str, way: Way) -> Score:
        """How a student does, asked in one way; KeyError where it was not."""
        for score in self.scores:
            if (score.student, score.way) == (student, way):
                return score
        raise KeyError((student, way))

    def difference(self, first: tuple[str, Way], second: tuple[str, Way]) -> Difference:
        """How two scores differ; KeyError where they were not compared."""
        for found in self.differences:
            if ((found.first, found.first_way), (found.second, found.second_way)) == (first, second):
                return found
        raise KeyError((first, second))

    @property
    def seconds(self) -> float:
        """Of all steps, the ones that an earlier run did included."""
        return sum(step.seconds for step in self.steps)


COMPARED: tuple[tuple[tuple[str, Way], tuple[str, Way]], ...] = (
    ((PLAIN, "options"), (CHAIN_FIRST, "writing")),
    ((PLAIN, "writing"), (CHAIN_FIRST, "writing")),
    ((PLAIN, "options"), (CHAIN_FIRST, "options")),
    ((CHAIN_FIRST, "options"), (CHAIN_FIRST, "writing")),
)
"""What is compared: each as it was taught; both by writing; both by the options; and what its chain gives to one."""
