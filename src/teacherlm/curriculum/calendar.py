"""Days of the week and hours of the day."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping

from teacherlm.curriculum.family import Answer, Family, Texts
from teacherlm.curriculum.question import Parameters
from teacherlm.curriculum.wordings import NAMES, Wordings

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
EVENTS = ("concert", "picnic", "match", "test", "wedding", "play", "fair", "race", "party", "trip")
SHOWS = ("film", "concert", "lesson", "game", "play", "meeting", "walk", "party", "talk", "show")
_HOUR = 60


class Week(Family):
    """Counting days on or back."""

    name = "week"
    about = "The day of the week some days after or before another."
    _later = Wordings(
        "Today is {day}. Which day will it be in {n} days?",
        "{name} leaves on a {day} and comes back {n} days later. On which day does {name} come back?",
        "Today is {day}, and the {event} is in {n} days. On which day is the {event}?",
        "{name} plants a seed on a {day}, and it sprouts after {n} days. On which day does it sprout?",
        "{name} meets {other} on a {day} and again {n} days later. On which day do they meet again?",
        name=NAMES,
        other=NAMES,
        event=EVENTS,
    )
    _earlier = Wordings(
        "Today is {day}. Which day was it {n} days ago?",
        "{name} comes back on a {day} after {n} days away. On which day did {name} leave?",
        "Today is {day}, and the {event} was {n} days ago. On which day was the {event}?",
        "{name} gets a letter on a {day}. {other} sent it {n} days before. On which day was it sent?",
        name=NAMES,
        other=NAMES,
        event=EVENTS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """The day, and how many days on or, below 0, back; no whole weeks."""
        for size in range(2, 70):
            if size % 7:
                for place, day in enumerate(DAYS):
                    for days in (size, -size):
                        yield DAYS[(place + days) % 7], (day, days)

    def wordings(self, core: Parameters) -> Wordings:
        return self._later if int(core[1]) > 0 else self._earlier

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"day": core[0], "n": abs(int(core[1]))}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        day, days = str(core[0]), int(core[1])
        weeks, rest = divmod(abs(days), 7)
        one, way, far = (1, "on", "early") if days > 0 else (-1, "back", "late")
        row = [DAYS[(DAYS.index(day) + one * step) % 7] for step in range(rest + 1)]
        whole = (
            f"{abs(days)} days hold {weeks} week{'s' if weeks > 1 else ''} of 7 days: "
            f"{weeks} x 7 = {weeks * 7}. {abs(days)} - {weeks * 7} = {rest}. "
        )
        start = whole if weeks else ""
        right = ", ".join(f"{step} {name}" for step, name in enumerate(row[1:], 1))
        wrong = ", ".join(f"{step} {name}" for step, name in enumerate(row[:-1], 1))
        side = "after" if days > 0 else "before"
        return Texts(
            f"A week has 7 days, so 7 days {side} a {day} it is a {day} again.",
            f"{start}Counting {way} from {day}: {right}. The result is {answer}.",
            f"{start}Whoever counts {day} as the first day says: {wrong}. {row[-2]} is one day too {far}.",
        )

    def options(self, source: random.Random, answers: Collection[Answer]) -> list[Answer]:
        return source.sample(list(DAYS), 4)


class Clock(Family):
    """Adding minutes to a time, or taking them away."""

    name = "clock"
    about = "The time some minutes after or before another."
    _later = Wordings(
        "A {show} begins at {time} and lasts {n} minutes. When does it end?",
        "It is {time}. What time will it be in {n} minutes?",
        "{name} leaves home at {time} and walks for {n} minutes. When does {name} arrive?",
        "{name} arrives at {time}, and {other} arrives {n} minutes later. When does {other} arrive?",
        "The {show} should begin at {time}, but it begins {n} minutes late. When does it begin?",
        name=NAMES,
        other=NAMES,
        show=SHOWS,
    )
    _earlier = Wordings(
        "A {show} ends at {time} and has lasted {n} minutes. When did it begin?",
        "It is {time}. What time was it {n} minutes ago?",
        "{name} arrives at {time} after a walk of {n} minutes. When did {name} leave home?",
        "{name} arrives at {time}, and {other} was there {n} minutes before. When did {other} arrive?",
        "The {show} begins at {time}, and {name} is there {n} minutes early. When does {name} get there?",
        name=NAMES,
        other=NAMES,
        show=SHOWS,
    )

    def cores(self) -> Iterator[tuple[Answer, Parameters]]:
        """Hour, minute, and the minutes on or, below 0, back, in steps of five; all between 1 and 12 o'clock."""
        for hour in range(1, 12):
            for minute in range(0, _HOUR, 5):
                for size in range(5, _HOUR, 5):
                    for minutes in (size, -size):
                        end = hour * _HOUR + minute + minutes
                        if _HOUR <= end < 12 * _HOUR:
                            yield end, (hour, minute, minutes)

    def wordings(self, core: Parameters) -> Wordings:
        return self._later if int(core[2]) > 0 else self._earlier

    def fields(self, core: Parameters) -> Mapping[str, str | int]:
        return {"time": f"{core[0]}:{int(core[1]):02}", "n": abs(int(core[2]))}

    def texts(self, core: Parameters, answer: Answer, drawn: Mapping[str, str | int]) -> Texts:
        hour, minute, minutes = (int(number) for number in core)
        size, start, end = abs(minutes), self.shown(hour * _HOUR + minute), self.shown(answer)
        to_hour, to_minute = divmod(int(answer), _HOUR)
        if minutes > 0:
            total = minute + size
            first = f"{minute} + {size} = {total}."
            if total >= _HOUR:
                steps = (
                    f"{first} {total} is not less than 60, so 1 hour of 60 minutes is full: "
                    f"{total} - 60 = {to_minute} and {hour} + 1 = {to_hour}."
                )
                wrong = (
                    f"{first} {total} - 60 = {to_minute}. Whoever forgets that an hour is full stays at {hour} "
                    f"and says {hour}:{to_minute:02}."
                )
            else:
                steps = f"{first} {total} is less than 60, so the hour stays {hour}."
                wrong = (
                    f"{first} Whoever begins a new hour although {total} is less than 60 takes {hour} + 1 = {hour + 1} "
                    f"and says {hour + 1}:{to_minute:02}."
                )
            facts = "Minutes are added to minutes, and 60 minutes make a new hour."
            side = "after"
        else:
            if size > minute:
                steps = (
                    f"{minute} is less than {size}, so 1 hour of 60 minutes is taken: "
                    f"{minute} + 60 = {minute + 60} and {hour} - 1 = {to_hour}. "
                    f"{minute + 60} - {size} = {to_minute}."
                )
                wrong = (
                    f"{minute} + 60 = {minute + 60}. {minute + 60} - {size} = {to_minute}. "
                    f"Whoever forgets that an hour is taken stays at {hour} and says {hour}:{to_minute:02}."
                )
            else:
                steps = f"{minute} is not less than {size}, so the hour stays {hour}. {minute} - {size} = {to_minute}."
                wrong = (
                    f"{minute} - {size} = {to_minute}. Whoever takes an hour although {minute} is not less than {size} "
                    f"takes {hour} - 1 = {hour - 1} and says {hour - 1}:{to_minute:02}."
                )
            facts = "Minutes are taken from minutes, and where they are too few an hour of 60 minutes is broken up."
            side = "before"
        return Texts(
            facts,
            f"{steps} {size} minutes {side} {start} is {end}. The result is {end}.",
            wrong,
        )

    def options(self, source: random.Random, answers: Collection[Answer]) -> list[Answer]:
        """Two hours next to each other, and in each the same two minutes."""
        while True:
            hour, minutes = source.randrange(1, 11), source.sample(range(0, _HOUR, 5), 2)
            found: list[Answer] = [at * _HOUR + minute for at in (hour, hour + 1) for minute in minutes]
            if all(time in answers for time in found):
                return found

    def shown(self, answer: Answer) -> str:
        hour, minute = divmod(int(answer), _HOUR)
        return f"{hour}:{minute:02}"
