"""Metrics, filters, figures, and what a run does when tasks, models and people stop it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from teacherlm.core.errors import MachineFailed, Mistake, RemoteFailed, TeacherlmError
from teacherlm.evaluate.aggregate import Aggregate, figure, of_group
from teacherlm.evaluate.documents import Item
from teacherlm.evaluate.filters import PLAIN, read_filters
from teacherlm.evaluate.judge import answers_of, judge
from teacherlm.evaluate.kept import KeptScorer
from teacherlm.evaluate.metrics import Metric, of_options, of_text, read_metrics
from teacherlm.evaluate.requests import Answers, Work, generation
from teacherlm.evaluate.run import Done, Progress, run
from teacherlm.evaluate.scorer import About, Asked, LocalScorer, QuestionFailed, Scorer, Tell, Written
from teacherlm.lm.score import LogLikelihood

ALL = tuple(Metric(name) for name in ("acc", "acc_norm", "acc_bytes", "exact_match"))


def place(loc: tuple[str | int, ...]) -> str:
    return "evaluate/one.yaml:" + ".".join(map(str, loc))


def filtered(steps: list[dict[str, Any]], *answers: str) -> Any:
    (pipeline,) = read_filters([{"name": "one", "filter": steps}], max(1, len(answers)), place)
    return pipeline.apply(answers)


def test_of_equal_options_the_first_is_predicted_and_length_counts_in_characters_or_bytes() -> None:
    # By sum the first, by character the second, by byte the third.
    found = of_options(ALL, [-4.0, -4.5, -4.6], [True, False, False], ["iron", "eisen", "ééé"], 0)
    assert found == {"acc": 1.0, "acc_norm": 0.0, "acc_bytes": 0.0, "exact_match": 1}
    assert of_options(ALL[:3], [-4.0, -4.5, -4.6], [False] * 3, ["iron", "eisen", "ééé"], 1)["acc_norm"] == 1.0
    assert of_options(ALL[:3], [-4.0, -4.5, -4.2], [False] * 3, ["iron", "eis", "ééé"], 2)["acc_bytes"] == 1.0
    assert of_options(ALL[:1], [-2.0, -2.0], [False] * 2, ["a", "b"], 1) == {"acc": 0.0}


def test_gold_answers_are_positions_texts_or_several_positions() -> None:
    likely, greedy, options = [-1.0, -2.0], [False, True], ["no", "yes"]
    assert of_options(ALL[:1], likely, greedy, options, "no") == {"acc": 1.0}
    assert of_options(ALL, likely, greedy, options, [0, 1])["exact_match"] == 1
    assert of_options(ALL[:1], likely, greedy, options, [1, 7]) == {"acc": 0.0}
    # What is no option is never right, and no likelihood is taken for it.
    assert of_options(ALL, likely, greedy, options, "neither") == dict.fromkeys(
        ("acc", "acc_norm", "acc_bytes"), 0.0
    ) | {"exact_match": 0}


@pytest.mark.parametrize(
    ("options", "answer", "gold", "value"),
    [
        ({}, "42", "42", 1.0),
        ({}, "42 ", "42", 0.0),
        ({"ignore_case": True}, "YES", "yes", 1.0),
        ({"ignore_punctuation": True}, "$1,200.50", "120050", 1.0),
        ({"ignore_numbers": True}, "a1b2", "ab", 1.0),
        ({"regexes_to_ignore": [",", r"\$", "(?s).*#### ", r"\.$"]}, "$70,000.", "so\n#### 70000", 1.0),
        ({}, "b", ["a", "b"], 1.0),
        ({}, ["a", "b", "a"], "a", 2 / 3),
        ({}, "7", 7, 1.0),
    ],
)
def test_exact_match_ignores_what_it_is_told_to(options: dict[str, Any], answer: Any, gold: Any, value: float) -> None:
    assert of_text([Metric("exact_match", options=options)], answer, gold) == {"exact_match": value}


@pytest.mark.parametrize(
    ("steps", "answers", "found"),
    [
        ([{"function": "take_first"}], ("a", "b"), "a"),
        ([{"function": "take_first_k", "k": 2}], ("a", "b", "c"), ["a", "b"]),
        ([{"function": "majority_vote"}, {"function": "take_first"}], ("a", "b", "b"), "b"),
        ([{"function": "regex"}, {"function": "take_first"}], ("#### 1,200",), "1,200"),
        ([{"function": "regex", "regex_pattern": "x"}], ("y",), ["[invalid]"]),
        ([{"function": "regex", "regex_pattern": "([a-z])|([0-9])", "group_select": -1}], ("a 1",), ["1"]),
        ([{"function": "regex", "regex_pattern": "[0-9]+", "group_select": 2, "fallback": "0"}], ("1 2",), ["0"]),
        ([{"function": "remove_whitespace"}, {"function": "uppercase"}], (" a ",), ["A"]),
        ([{"function": "lowercase"}, {"function": "map", "mapping_dict": {"a": "b"}, "default_value": "c"}],
         ("A", "B"), ["b", "c"]),
    ],
)  # fmt: skip
def test_filters(steps: list[dict[str, Any]], answers: tuple[str, ...], found: Any) -> None:
    assert filtered(steps, *answers) == found


@pytest.mark.parametrize(
    ("read", "found", "where"),
    [
        (lambda: filtered([{"function": "regexp"}]), "filter `regexp` is unknown", "filter_list.0.filter.0"),
        (lambda: filtered([{"function": "regex", "pattern": "a"}]), "has no option `pattern`", "filter_list.0"),
        (lambda: filtered([{"function": "regex", "regex_pattern": "("}]), "no regular expression", "filter_list.0"),
        (lambda: filtered([{"function": "take_first_k", "k": 8}], "a"), "k is 8, and there are 1 answers", "filter"),
        (lambda: read_metrics("multiple_choice", [{"metric": "bleu"}], place), "`bleu` is unknown", "metric_list.0"),
        (lambda: read_metrics("generate_until", [{"metric": "acc"}], place), "`acc` is unknown for gen", "metric_list"),
        (lambda: read_metrics("multiple_choice", [{"metric": "acc", "aggregation": "median"}], place), "`median`", ""),
        (lambda: read_metrics("generate_until", [{"metric": "exact_match", "ignore_cas": 1}], place), "ignore_cas", ""),
        (lambda: read_filters([{"name": "x", "filter": [{"function": "lowercase"}]}], 1, place, of_text=False),
         "options are compared", "filter_list"),
        (lambda: generation({"num_beams": 4}, "\n\n", place), "`num_beams`", "generation_kwargs.num_beams"),
    ],
)  # fmt: skip
def test_what_is_unknown_is_told_with_its_place(read: Callable[[], Any], found: str, where: str) -> None:
    with pytest.raises(Mistake) as caught:
        read()
    assert found in caught.value.found
    assert caught.value.where.startswith("evaluate/one.yaml") and where in caught.value.where
    assert caught.value.remedy


def test_figures_have_errors_intervals_and_chance() -> None:
    one = figure("acc", "none", [1.0] * 30 + [0.0] * 70, chance=0.25)
    assert (one.value, one.documents, one.key, one.stderr_key) == (0.3, 100, "acc,none", "acc_stderr,none")
    assert one.stderr == pytest.approx(math.sqrt(0.3 * 0.7 / 99))
    assert (round(one.low, 4), round(one.high, 4)) == (0.2189, 0.3958)
    assert (
        one.within_chance and not replace(one, chance=0.2).within_chance and not replace(one, chance=None).within_chance
    )
    alone = figure("acc", "none", [1.0])
    assert alone.stderr is None and alone.low > 0.2
    # Shares of several texts are no counts.
    assert figure("exact_match", "none", [0.5, 0.75]).low == pytest.approx(0.625 - 1.96 * 0.125, abs=1e-4)


def test_groups_weigh_tasks_by_size_or_alike() -> None:
    tasks = {
        "small": [figure("acc", "none", [1.0, 0.0], chance=0.5)],
        "large": [figure("acc", "none", [0.0] * 6, chance=0.25), figure("acc_norm", "none", [1.0] * 6)],
    }
    (sized,) = of_group(Aggregate(metric="acc"), tasks)
    assert (sized.value, sized.documents, sized.chance) == (0.125, 8, (2 * 0.5 + 6 * 0.25) / 8)
    assert sized.stderr == pytest.approx(math.sqrt((1 * 0.5**2 * 2) / (8 - 2) / 8))
    (plain,) = of_group(Aggregate(metric="acc", weight_by_size=False), tasks)
    assert (plain.value, plain.stderr, plain.chance) == (0.25, 0.25, 0.375)
    assert of_group(Aggregate(metric="f1"), tasks) == []
    single = {"one": [figure("acc", "none", [1.0])]}
    assert of_group(Aggregate(metric="acc"), single)[0].stderr is None


def work(name: str, count: int = 3, **given: Any) -> Work:
    """A task: which of two options is likelier, the second being right in every third document."""
    items = tuple(
        Item(
            doc_id=number,
            doc={"q": f"{name} {number}"},
            context=f"{name} {number}:",
            choices=("ab", "abc"),
            gold=int(number % 3 == 0),
            target=int(number % 3 == 0),
        )
        for number in range(count)
    )
    told: dict[str, Any] = {
        **{"name": name, "alias": name, "config": {"task": name}, "version": 1, "shots": 0, "options": True},
        **{"items": items, "documents": count, "refused": 0, "delimiter": " ", "generation": {}, "repeats": 1},
        **{"metrics": ALL[:2], "pipelines": PLAIN},
    }
    return Work(**told | given)


def written(name: str, **given: Any) -> Work:
    return work(name, options=False, metrics=(Metric("exact_match"),), generation=given.pop("generation", {}), **given)


class Lengths:
    """A model for which short continuations are likelier; what it writes is the length of its prompt."""

    def __init__(self) -> None:
        self.about = About(name="lengths", fingerprint="1", sha="1")
        self.calls: list[int] = []

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        self.calls.append(len(requests))
        for context, _ in requests:
            if context.startswith("refused"):
                raise Mistake("an option has no tokens", "change it")
            if context.startswith("away"):
                raise RemoteFailed("the server is away", "start it")
            if context.startswith("stop 0"):
                raise KeyboardInterrupt
        tell(len(requests))
        nan = float("nan")
        return [
            LogLikelihood(nan if context.startswith("broken 1") else -float(len(option)), False, 1, len(option), 0)
            for context, option in requests
        ]

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        self.calls.append(len(asked))
        return [Written(f"{len(one.prompt)} {one.seed % 2}", "length", 1) for one in asked]


def ran(
    works: Sequence[Work], earlier: Callable[[Work], Answers | None] = lambda _: None
) -> tuple[list[Done], list[tuple[str, TeacherlmError]], Lengths, list[Progress]]:
    kept: list[Done] = []
    seen: list[Progress] = []
    scorer = Lengths()
    failures = run(
        works, scorer, seed=1, earlier=earlier, keep=kept.append, watch=lambda progress: seen.append(replace(progress))
    )
    return kept, failures, scorer, seen


def test_a_task_that_fails_is_named_and_the_others_are_judged() -> None:
    works = [work("first"), work("broken"), work("refused"), written("text"), work("last")]
    kept, failures, _, seen = ran(works)
    assert sorted(done.work.name for done in kept) == ["first", "last", "text"]
    assert [(name, type(error)) for name, error in failures] == [("broken", MachineFailed), ("refused", Mistake)]
    (nan,) = [error for name, error in failures if name == "broken"]
    assert "document 1" in nan.found and "nan" in nan.found and "--dtype float32" in nan.remedy
    assert seen[-1].done_tasks == seen[-1].tasks == 5 and seen[-1].done == seen[-1].documents == 15


def test_tasks_that_are_asked_together_fail_alone() -> None:
    """The first is asked by itself; then the rate is known, and the rest is asked at once."""
    works = [work(name) for name in ("first", "second", "refused", "third")]
    kept, failures, scorer, _ = ran(works)
    assert [done.work.name for done in kept] == ["first", "second", "third"]
    assert [name for name, _ in failures] == ["refused"]
    assert scorer.calls == [6, 18, 6, 6, 6]


def test_when_the_server_is_away_nothing_more_is_asked() -> None:
    kept, failures, scorer, _ = ran([work("first"), work("away"), work("later"), written("text")])
    assert [done.work.name for done in kept] == ["first"]
    assert [name for name, _ in failures] == ["away", "later", "text"]
    assert all(isinstance(error, RemoteFailed) for _, error in failures)
    assert len(scorer.calls) == 2


class Mortal(Lengths):
    """Goes away after so many requests."""

    def __init__(self, lives: int, sha: str | None = "1") -> None:
        super().__init__()
        self.about, self.lives = replace(self.about, sha=sha), lives

    def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
        self.lives -= len(requests)
        if self.lives < 0:
            raise RemoteFailed("the server is away", "start it")
        return super().loglikelihoods(requests, tell)

    def generate(self, asked: Sequence[Asked], tell: Tell) -> list[Written]:
        self.lives -= len(asked)
        if self.lives < 0:
            raise RemoteFailed("the server is away", "start it")
        return super().generate(asked, tell)


@pytest.mark.parametrize("make", [work, written])
def test_of_a_task_that_was_half_answered_the_other_half_is_asked(make: Callable[..., Work], tmp_path: Path) -> None:
    task, file = make("long", count=1_000), tmp_path / "scores" / "kept.jsonl"
    requests = len(task.pairs()) if task.options else len(task.asked(1))
    seen: list[Progress] = []

    def asked(scorer: Scorer) -> tuple[list[Done], list[tuple[str, TeacherlmError]]]:
        kept: list[Done] = []
        watch = lambda progress: seen.append(replace(progress))  # noqa: E731
        return kept, run([task], scorer, seed=1, earlier=lambda _: None, keep=kept.append, watch=watch)

    (whole,), none = asked(Lengths())
    assert not none
    kept, failures = asked(KeptScorer(Mortal(40), file, first=30))
    assert not kept and isinstance(failures[0][1], RemoteFailed)
    # What a kill left of a line, and another model's answer to the same, count for nothing.
    text = file.read_text()
    other = text.splitlines()[1].replace('"of": "', '"of": "0').replace('"key": "', '"key": "0')
    file.write_text(text + other + '\n{"of": "')
    again, seen = Mortal(10**9), []
    scorer = KeptScorer(again, file, first=30)
    (done,), failures = asked(scorer)
    assert not failures and done.judged == whole.judged
    assert sum(again.calls) == requests - 30 and again.calls[:3] == [30, 60, 120]
    assert seen[-1].done == 1_000
    # Another evaluation into the same folder leaves these answers alone; what was asked is forgotten at its end.
    known, short = KeptScorer(Lengths(), file)._known, KeptScorer(Lengths(), file, first=2)
    run([make("short", count=9)], short, seed=1, earlier=lambda _: None, keep=lambda _: None, watch=lambda _: None)
    short.forget()
    assert len(known) >= 30 and KeptScorer(Lengths(), file)._known == known
    scorer.forget()
    assert other.strip() in file.read_text() and not KeptScorer(Lengths(), file)._known
    file.unlink()
    asked(KeptScorer(Mortal(40, sha=None), file, first=30))
    assert not file.exists()
    unknown = Mortal(10**9, sha=None)
    asked(KeptScorer(unknown, file, first=30))
    assert sum(unknown.calls) == requests


def test_what_is_asked_again_is_kept_whole_so_that_it_can_be_gone_on_with(tmp_path: Path) -> None:
    file, first = tmp_path / "again.jsonl", Lengths()
    kept = [KeptScorer(scorer, file, whole=True) for scorer in (first,)]
    found = kept[0].loglikelihoods([("a", "b"), ("a", "bc")], lambda _: None)
    second = Lengths()
    seen: list[int] = []
    assert KeptScorer(second, file, whole=True).loglikelihoods([("a", "b"), ("a", "bc")], seen.append) == found
    assert not second.calls and seen == [2]


@pytest.mark.parametrize("line", ["null", "3", '{"of": 1}', "[]", '{"of": "x", "key": "y", "answer": 3}', "\x00"])
def test_a_damaged_file_of_answers_is_passed_over(line: str, tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    requests = [("a", "b" * place) for place in range(1, 9)]
    KeptScorer(Lengths(), file, first=4).loglikelihoods(requests, lambda _: None)
    whole = file.read_text().splitlines()
    short = whole[2].replace('"answer": [', '"answer": [7, ')
    file.write_text("\n".join([line, *whole[:2], short, line]))
    model = Lengths()
    scorer = KeptScorer(model, file)
    assert len(scorer.loglikelihoods(requests, lambda _: None)) == 8 and sum(model.calls) == 8 - 1
    scorer.forget()
    assert not file.exists()


def test_a_server_that_fails_at_a_question_stops_its_task_alone() -> None:
    class Poisoned(Lengths):
        def loglikelihoods(self, requests: Sequence[tuple[str, str]], tell: Tell) -> list[LogLikelihood]:
            for context, option in requests:
                if context.startswith("poison"):
                    raise QuestionFailed("the server failed 6 times on one question", "see its log").on(
                        context + option
                    )
            return super().loglikelihoods(requests, tell)

    def named(*names: str) -> tuple[list[str], list[tuple[str, TeacherlmError]]]:
        kept: list[Done] = []
        works = [work(name) for name in names]
        failures = run(works, Poisoned(), seed=1, earlier=lambda _: None, keep=kept.append, watch=lambda _: None)
        return [done.work.name for done in kept], failures

    kept, failures = named("first", "poison a", "second", "poison b", "poison c", "third")
    assert kept == ["first", "second", "third"]
    assert [name for name, _ in failures] == ["poison a", "poison b", "poison c"]
    assert failures[0][1].found.endswith("the question ends with 'poison a 0: ab'")
    # A server that fails at every task is not asked for all of them.
    kept, failures = named(*(f"poison {place}" for place in range(9)), "last")
    assert not kept and len(failures) == 10 and failures[-1][0] == "last"


def test_a_full_disk_stops_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    scorer = KeptScorer(Lengths(), tmp_path / "file" / "kept.jsonl", first=2)
    assert len(scorer.loglikelihoods([("a", "b" * place) for place in range(1, 9)], lambda _: None)) == 8
    assert len(scorer.loglikelihoods([("a", "b"), ("a", "b"), ("a", "b")], lambda _: None)) == 3


def test_what_was_judged_before_an_interruption_is_kept() -> None:
    kept: list[Done] = []
    with pytest.raises(KeyboardInterrupt):
        run(
            [work("first"), work("stop")],
            Lengths(),
            seed=1,
            earlier=lambda _: None,
            keep=kept.append,
            watch=lambda _: None,
        )
    assert [done.work.name for done in kept] == ["first"]


def test_answers_of_an_earlier_run_are_judged_without_the_model() -> None:
    (done,), *_ = ran([work("first")])
    again, _, scorer, _ = ran([work("first")], lambda one: Answers(answers_of(one, done.judged.lines) or [], [0] * 3))
    assert again[0].judged == done.judged and again[0].reused and not scorer.calls
    assert answers_of(work("first", 4), done.judged.lines) is None


def test_lines_tell_what_was_asked_answered_and_found() -> None:
    (done,), *_ = ran([work("first")])
    line = done.judged.lines[0]
    assert line["arguments"] == {
        "gen_args_0": {"arg_0": "first 0:", "arg_1": " ab"},
        "gen_args_1": {"arg_0": "first 0:", "arg_1": " abc"},
    }
    assert line["resps"] == [[["-3.0", "False"]], [["-4.0", "False"]]]
    assert (line["filtered_resps"], line["target"]) == ([["-3.0", "False"], ["-4.0", "False"]], "1")
    assert (line["acc"], line["metrics"]) == (0.0, ["acc", "acc_norm"])
    acc = done.judged.figures[0]
    assert (acc.value, acc.chance, acc.documents) == (2 / 3, 0.5, 3)


def test_documents_without_a_gold_answer_count_as_wrong_and_all_of_them_are_a_mistake() -> None:
    items = work("one").items
    some = work("one", items=(replace(items[0], gold=-1), *items[1:]))
    answers = Answers([[[(-1.0, False)], [(-2.0, False)]]] * 3, [0] * 3)
    assert judge(some, answers).without_gold == 1
    none = work("one", items=tuple(replace(one, gold="neither") for one in items))
    with pytest.raises(Mistake, match="no document has a gold answer"):
        judge(none, answers)


def test_repeats_are_drawn_apart_where_texts_are_drawn_and_copied_where_they_are_not() -> None:
    drawn = written("text", repeats=3, generation={"do_sample": True, "temperature": 0.7, "top_k": 5, "until": "\n"})
    asked = drawn.asked(7)
    assert len(asked) == 9 and len({one.seed for one in asked}) == 9
    assert (asked[0].temperature, asked[0].top_k, asked[0].until, asked[0].max_gen_toks) == (0.7, 5, ("\n",), 256)
    assert asked == drawn.asked(7) != drawn.asked(8)
    greedy = written("text", repeats=3, generation={"max_new_tokens": 8})
    assert len(greedy.asked(7)) == 3
    assert greedy.of_texts([Written(text, "length") for text in "abc"]).of == [[["a"] * 3], [["b"] * 3], [["c"] * 3]]


def test_the_key_tells_whether_the_model_would_answer_the_same() -> None:
    about = About(name="a", fingerprint="1", dtype="float32", window=64)
    key = work("one").key(about, 1)
    assert work("one", alias="other", metrics=ALL[:1]).key(replace(about, name="b"), 2) == key
    others = [
        work("two").key(about, 1),
        work("one", delimiter="").key(about, 1),
        work("one", count=4).key(about, 1),
        work("one").key(replace(about, fingerprint="2"), 1),
        work("one").key(replace(about, dtype="bfloat16"), 1),
    ]
    assert len({key, *others}) == 6


def test_the_window_holds_prompt_and_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import random_model

    scorer = LocalScorer(random_model(), "random")
    window = 40
    monkeypatch.setattr(scorer.loaded.tokenizer, "model_max_length", window)
    assert scorer.about.window == window
    long = Asked(prompt="Iron rusts. " * 20, max_gen_toks=4)
    (text,) = scorer.generate([long], lambda _: None)
    assert text.cut > 0
    with pytest.raises(Mistake, match="leave no room"):
        scorer.generate([replace(long, max_gen_toks=window)], lambda _: None)
    with pytest.raises(Mistake, match="the continuation '' has no tokens"):
        scorer.loglikelihoods([("Iron", " rusts"), ("Iron", "")], lambda _: None)
    (likely,) = scorer.loglikelihoods([(long.prompt, " yes")], lambda _: None)
    assert likely.cut > 0
