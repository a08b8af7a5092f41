"""How texts come about: STaR's draws and hints, a teacher for each kind, all kinds in one call, human rationales."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import teacherlm
from recipes import parquet, recipe
from teacherlm.api.project import Project
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.project.find import ProjectFiles
from teacherlm.schemas.records import KINDS, record
from teacherlm.teacher.answered import AnsweredCalls
from teacherlm.teacher.client import Retry
from teacherlm.teacher.errors import TeacherLost
from teacherlm.teacher.segments import kind_folders, list_segments
from unkind import INFO, TOO_LONG, Asked, Behaviour, Reply, Unkind, cut, fails, plain, says, unkind_in_a_thread

ROWS: list[dict[str, Any]] = [
    {"id": "0", "q": "Which metal rusts when it is wet?", "c": ["gold", "iron"], "a": "iron", "h": None},
    {
        "id": "1",
        "q": "Which animal gives us wool?",
        "c": ["sheep", "hen"],
        "a": "sheep",
        "h": "Wool grows on sheep, which are shorn for it once in a year.",
    },
    {"id": "2", "q": "How many legs has a spider?", "c": [], "a": "8", "h": " "},
]
SAMPLE = {"id": "id", "question": "q", "choices": "c", "answer": "a"}
COT = ["chain_of_thought"]
SAMPLING = "parameters: {do_sample: true, temperature: 0.7, seed: 1}"
RIGHT, WRONG, NONE = says("Iron rusts. The answer is (B)."), says("It is (A). The answer is (A)."), says("Who knows.")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Retry, "delay", lambda self, failures: 0.0)


def opened(tmp_path: Path, rows: Sequence[Mapping[str, Any]] = ROWS[:1], catalog: str = "", **entries: Any) -> Project:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", rows)
    recipe(tmp_path / "p", SAMPLE, **entries)
    (tmp_path / "p" / "catalog.yaml").write_text(catalog)
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    return project


def lab(server: Unkind, more: str = SAMPLING) -> str:
    return f"teachers:\n  lab: {{url: '{server.url}', {more}}}\n"


def rows_of(project: Project, columns: str, table: str = "rationales") -> list[tuple[Any, ...]]:
    return project.sql(f"SELECT {columns} FROM {table} ORDER BY sample_id, kind, repeat").fetchall()


def by_seed(*replies: Reply) -> Behaviour:
    """Each draw its own reply, the last one for the hinted question."""
    seeds: list[int] = []

    def behaviour(asked: Asked) -> Reply:
        if "(CORRECT" in asked.prompt:
            return replies[-1]
        seed = asked.body["parameters"].get("seed", 0)
        if seed not in seeds:
            seeds.append(seed)
        return replies[seeds.index(seed)]

    return behaviour


# --- STaR ------------------------------------------------------------------------------------------------------------


def test_a_chain_that_finds_the_answer_is_all_that_is_asked(tmp_path: Path) -> None:
    with unkind_in_a_thread([RIGHT]) as server:
        project = opened(tmp_path, strategy="star")
        state = project.augment("d", teacher=server.url, kinds=COT)
        assert server.prompts == ["Q: Which metal rusts when it is wet? (A) gold (B) iron A: Let's think step by step."]
        assert (state.planned, state.done, state.tally.answered, state.tally.requests) == (1, 1, 1, 1)
        again = project.augment("d", teacher=server.url, kinds=COT)
        assert (again.already, again.tally.requests, len(server.seen)) == (1, 0, 1)
    assert rows_of(project, "strategy, predicted_answer, repeat") == [("star", "iron", 0)]
    project.check("d")
    assert project.sql("SELECT provenance.chain_of_thought.strategy FROM augmented").fetchall() == [("star",)]


def test_the_first_right_draw_is_used_and_all_stay(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_seed(WRONG, RIGHT)) as server:
        project = opened(tmp_path, catalog=lab(server))
        state = project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=4)
        assert len(server.seen) == 2
    assert (state.planned, state.tally.answered, state.tally.followed, state.tally.requests) == (1, 1, 1, 2)
    assert rows_of(project, "repeat, strategy, predicted_answer") == [(0, "star", "gold"), (1, "star", "iron")]
    project.check("d")
    assert rows_of(project, "verdict, list_contains(flags, 'wrong_answer')", "verdicts") == [
        ("rejected", True),
        ("accepted", False),
    ]
    used = project.sql("SELECT chain_of_thought, provenance.chain_of_thought.repeat FROM augmented").fetchall()
    assert used == [(RIGHT.text, 1)]


@pytest.mark.parametrize("draw", [WRONG, NONE, says("")])
def test_where_all_draws_fail_the_answer_is_the_hint(tmp_path: Path, draw: Reply) -> None:
    with unkind_in_a_thread(by_seed(draw, draw, RIGHT)) as server:
        project = opened(tmp_path, catalog=lab(server))
        state = project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=2)
        assert ["(CORRECT)" in prompt for prompt in server.prompts] == [False, False, True]
        again = project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=2)
        assert (again.already, len(server.seen)) == (1, 3)
    assert (state.planned, state.tally.settled, state.tally.followed) == (1, 1, 2)
    found = {WRONG: "gold"}.get(draw)
    assert rows_of(project, "repeat, strategy, predicted_answer", "ledger") == [
        *[(number, "star", found) for number in (0, 1)],
        (1, "star_hinted", "iron"),
    ]
    assert rows_of(project, "repeat, strategy") == [(0, "star"), (1, "star_hinted")]
    project.check("d")
    assert [row[0] for row in rows_of(project, "verdict", "verdicts")] == ["rejected", "accepted"]


@pytest.mark.parametrize("hinted", [WRONG, NONE])
def test_a_hint_that_does_not_help_is_rejected(tmp_path: Path, hinted: Reply) -> None:
    with unkind_in_a_thread([WRONG, hinted]) as server:
        project = opened(tmp_path, strategy="star")
        state = project.augment("d", teacher=server.url, kinds=COT)
        assert (len(server.seen), state.tally.answered) == (2, 1)
    report = project.check("d")
    assert report.books.rejected == 1
    (reason,) = project.sql("SELECT reason FROM findings WHERE rule = 'wrong_answer'").fetchall()
    assert reason[0].endswith('the gold answer is "iron"')


def test_a_cut_draw_is_asked_longer_and_then_counts_as_not_reaching(tmp_path: Path) -> None:
    with unkind_in_a_thread([cut("The answer is (B)."), cut("The answer is (B)."), RIGHT]) as server:
        project = opened(tmp_path, strategy="star", max_new_tokens=8)
        state = project.augment("d", teacher=server.url, kinds=COT)
        assert [asked.budget for asked in server.seen] == [8, 16, 8]
    assert (state.tally.settled, state.tally.answered, state.tally.followed) == (1, 1, 1)
    columns = "status, strategy, predicted_answer"
    assert rows_of(project, columns, "ledger") == [("truncated", "star", None)] * 2 + [("ok", "star_hinted", "iron")]


def test_a_refused_draw_settles_the_sample(tmp_path: Path) -> None:
    with unkind_in_a_thread([TOO_LONG]) as server:
        project = opened(tmp_path, strategy="star")
        for _ in range(2):
            state = project.augment("d", teacher=server.url, kinds=COT)
        assert (len(server.seen), state.already, state.tally.settled) == (1, 1, 0)


def test_the_other_kinds_are_asked_as_always(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says("The answer is 8.")) as server:
        project = opened(tmp_path, ROWS, strategy="star")
        state = project.augment("d", teacher=server.url)
        # Two samples of three need a hint, which their chain does not follow.
        assert (state.planned, state.tally.answered, state.tally.followed, len(server.seen)) == (9, 9, 2, 11)
        shown = [prompt for prompt in server.prompts if "fundamental" in prompt or "mistakes" in prompt]
        assert len(shown) == 6 and all("A: The answer is" in prompt for prompt in shown)
        with pytest.raises(Mistake, match="names no kind"):
            project.augment("d", teacher=server.url, kinds=[])
    assert set(rows_of(project, "kind, strategy")) == {
        ("fundamentals", "explain"),
        ("common_mistakes", "explain"),
        ("chain_of_thought", "star"),
        ("chain_of_thought", "star_hinted"),
    }


@pytest.mark.parametrize("lost_after", range(7))
def test_a_run_goes_on_where_it_was_stopped(tmp_path: Path, lost_after: int) -> None:
    """Draw 0 is wrong; 1 is cut, then tells nothing; 2 is cut twice; the hinted one is right."""
    said = [WRONG, cut("Well"), NONE, cut("Hm"), cut("Hm"), RIGHT]
    asked_for: list[Asked] = []

    def behaviour(asked: Asked) -> Reply:
        if asked.number == lost_after + 1:
            return fails(401)
        asked_for.append(asked)
        return said[len(asked_for) - 1]

    with unkind_in_a_thread(behaviour) as server:
        project = opened(tmp_path, catalog=lab(server), max_new_tokens=8)
        if lost_after < len(said):
            with pytest.raises(TeacherLost):
                project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=3)
        state = project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=3)
    assert [asked.budget for asked in asked_for] == [8, 8, 16, 8, 16, 8]
    assert len({json.dumps(asked.body) for asked in asked_for}) == len(said)
    assert state.done == state.planned == 1
    assert rows_of(project, "repeat, strategy, status, predicted_answer") == [
        (0, "star", "ok", "gold"),
        (1, "star", "ok", None),
        (2, "star_hinted", "ok", "iron"),
    ]


def test_more_draws_begin_behind_those_that_are_there(tmp_path: Path) -> None:
    with unkind_in_a_thread(by_seed(WRONG, RIGHT, NONE)) as server:
        project = opened(tmp_path, catalog=lab(server))
        project.augment("d", teacher="lab", kinds=COT, strategy="star")
        assert len(server.seen) == 2  # a draw and the hint
        project.augment("d", teacher="lab", kinds=COT, strategy="star", repeats=5)
        assert len(server.seen) == 3
    assert rows_of(project, "repeat, strategy") == [(0, "star_hinted"), (1, "star")]


def test_prompts_without_star_are_a_mistake_before_anybody_is_asked(tmp_path: Path) -> None:
    with unkind_in_a_thread([RIGHT]) as server:
        project = opened(tmp_path, prompts="mine", strategy="star")
        prompts = tmp_path / "p" / "builders" / "prompts" / "mine.yaml"
        prompts.parent.mkdir()
        prompts.write_text("kinds: {fundamentals: a, chain_of_thought: b, common_mistakes: c}\n")
        with pytest.raises(Mistake, match="it has no prompts for the strategy `star`"):
            project.augment("d", teacher=server.url)
        assert project.augment("d", teacher=server.url, strategy="explain").tally.answered == 3
        with pytest.raises(Mistake, match="strategies are explain, star"):
            project.augment("d", teacher=server.url, strategy="human")
        for text, words in {
            "star: 'Q: {{ gold }}'\nstar_hinted: '{{ hinted_text }}'": "mine.yaml:2:7   shows the answer",
            "star: 'Q'\nstar_hinted: '{{ question_text }}'": "mine.yaml:3:14   gives no hint",
            "star: 'Q'": "`star_hinted` is missing",
            "star: 'Q'\nstar_hinted: '{{ gold }}'\none_call: all": "write two profiles",
        }.items():
            prompts.write_text("kinds: {chain_of_thought: b}\n" + text + "\n")
            with pytest.raises(Mistakes) as caught:
                project.augment("d", teacher=server.url, kinds=COT)
            assert words in str(caught.value)
        assert len(server.seen) == 3


def test_chat_prompts_draw_too(tmp_path: Path) -> None:
    with unkind_in_a_thread([WRONG, RIGHT]) as server:
        project = opened(tmp_path, strategy="star", prompts="chat")
        project.augment("d", teacher=server.url, kinds=COT)
        first, hinted = server.prompts
    assert "(A) gold (B) iron\n" in first and "right answer" not in first
    assert "(B) iron (CORRECT)" in hinted and hinted.endswith("The answer is (B).")
    assert rows_of(project, "strategy, predicted_answer") == [("star_hinted", "iron")]


# --- ledgers of old times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sealed", [True, False])
def test_a_ledger_without_predicted_answers_is_read(tmp_path: Path, sealed: bool) -> None:
    with unkind_in_a_thread([says("It rusts. The answer is (B).")]) as server:
        project = opened(tmp_path, ROWS[:2])
        project.augment("d", teacher=server.url, limit=1)
        for folder in kind_folders(project.workspace.rationales("d")):
            for segment in list_segments(folder):
                table = pq.read_table(segment.path).drop_columns(["predicted_answer"])
                if sealed:
                    pq.write_table(table, segment.path)
                else:
                    segment.path.unlink()
                    lines = [json.dumps(row, default=str) + "\n" for row in table.to_pylist()]
                    segment.path.with_suffix(".jsonl").write_text("".join(lines))
        assert len(AnsweredCalls.read(project.workspace.rationales("d"))) == 3
        assert rows_of(project, "predicted_answer") == [(None,)] * 3
        state = project.augment("d", teacher=server.url)
        assert (state.already, state.tally.answered) == (3, 3)
        project.augment("d", teacher=server.url, kinds=COT, strategy="star")
    found = rows_of(project, "kind, predicted_answer")
    assert [answer for kind, answer in found if kind == "chain_of_thought"] == ["iron", "hen"]
    assert project.sql("FROM rationales").columns == record("rationale").names


# --- a teacher for each kind -----------------------------------------------------------------------------------------


def three(servers: Sequence[Unkind]) -> str:
    f, c, m = (server.url for server in servers)
    return f"""
teachers:
  lab: {{kinds: {{fundamentals: lab-f, chain_of_thought: lab-c, common_mistakes: lab-m}}}}
  lab-f: {{url: '{f}'}}
  lab-c: {{url: '{c}', parameters: {{do_sample: true, temperature: 0.5, seed: 3}}}}
  lab-m: {{url: '{m}', prompts: chat, concurrency: 1}}
"""


def named(stack: ExitStack, name: str, behaviour: Behaviour) -> Unkind:
    server = stack.enter_context(unkind_in_a_thread(behaviour))
    server.info = plain(200, json.dumps(INFO | {"model_id": name}), "application/json")
    return server


def test_each_teacher_sees_its_kind_alone(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [named(stack, name, [says(f"Text of {name}. It is so.")]) for name in ("f", "c", "m")]
        project = opened(tmp_path, ROWS, three(servers))
        state = project.augment("d", teacher="lab")
        f, c, m = servers
        assert [len(server.seen) for server in servers] == [3, 3, 3]
        assert all(prompt.endswith("fundamental of this question is:") for prompt in f.prompts)
        assert all(asked.body["parameters"]["temperature"] == 0.5 for asked in c.seen)
        assert {asked.path for asked in m.seen} == {"/v1/chat/completions"} and m.most_at_work == 1
        assert (state.planned, state.tally.answered, state.tally.requests) == (9, 9, 9)
        assert (state.teacher, state.model) == ("lab", "f, c, m")
        assert project.augment("d", teacher="lab").already == 9
        project.augment("d", teacher="lab", kinds=COT, strategy="star")
        assert [len(server.seen) for server in servers] == [3, 9, 3]  # three draws, three hints
    kinds = dict(zip(KINDS, "fcm", strict=True))
    assert {(kind, model) for kind, model in rows_of(project, "kind, teacher_model")} == set(kinds.items())


def test_a_teacher_that_is_lost_does_not_stop_the_others(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [named(stack, name, reply) for name, reply in (("f", [fails(401)]), ("c", [RIGHT]), ("m", [RIGHT]))]
        project = opened(tmp_path, ROWS, three(servers))
        with pytest.raises(TeacherLost, match="401"):
            project.augment("d", teacher="lab", concurrency=1)
        assert [len(server.seen) for server in servers] == [1, 3, 3]
    assert len(rows_of(project, "kind")) == 6


@pytest.mark.parametrize(
    ("teachers", "place", "words"),
    [
        ("lab: {kinds: {fundamentals: lap}}\n  lap2: {url: 'http://h:1'}", "2:31", "did you mean `lap2`"),
        ("lab: {kinds: {cot: x}}\n  x: {url: 'http://h:1'}", "2:22", "there is no kind `cot`"),
        ("lab: {kinds: {fundamentals: lab}}", "2:31", "names teachers for kinds itself"),
        (
            "lab: {kinds: {fundamentals: b}}\n  b: {kinds: {fundamentals: lab}}",
            "2:31",
            "names teachers for kinds itself",
        ),
        ("lab: {kinds: {fundamentals: x}}\n  x: {url: 'http://h:1'}", "2:16", "no teacher for `chain_of_thought`"),
        ("lab: {kinds: {}}", "2:8", "`kinds` is empty"),
        ("lab: {kinds: {fundamentals: x}, url: 'http://h:1'}", "2:8", "`url` stands beside `kinds`"),
        ("lab: {kinds: {fundamentals: x}, concurrency: 3}", "2:8", "`concurrency` stands beside `kinds`"),
    ],
)
def test_teachers_of_kinds_that_cannot_be(tmp_path: Path, teachers: str, place: str, words: str) -> None:
    project = opened(tmp_path)
    (tmp_path / "p" / "catalog.yaml").write_text(f"teachers:\n  {teachers}\n")
    with pytest.raises(Mistake) as caught:
        Project(ProjectFiles(tmp_path / "p"), project.workspace).augment("d", teacher="lab")
    assert words in str(caught.value)
    assert f"catalog.yaml:{place}" in str(caught.value)


# --- all kinds in one call -------------------------------------------------------------------------------------------


def texts(**changed: Any) -> str:
    return json.dumps({kind: f"About the {kind} there is this to say." for kind in KINDS} | changed)


def test_one_call_gives_a_text_for_each_kind(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says(f" {texts()}\n", tokens=30)) as server:
        project = opened(tmp_path, ROWS, prompts="one-call", max_new_tokens=8)
        state = project.augment("d", teacher=server.url)
        assert len(server.seen) == 3
        asked = server.seen[0]
        assert asked.body["response_format"]["type"] == "json"
        assert asked.body["response_format"]["value"]["required"] == list(KINDS)
        assert asked.budget == 24
        assert all(f'"{kind}": ' in asked.prompt for kind in KINDS)
        assert (state.planned, state.tally.answered, state.tally.requests) == (9, 9, 3)
        assert project.augment("d", teacher=server.url).already == 9
        assert len(server.seen) == 3
        project.augment("d", teacher=server.url, kinds=COT)  # another question
        assert list(server.seen[-1].body["response_format"]["value"]["properties"]) == COT
        assert "common_mistakes" not in server.prompts[-1]
    columns = "count(*), count(DISTINCT call_key), sum(generated_tokens), sum(attempts)"
    assert project.sql(f"SELECT {columns} FROM ledger").fetchall() == [(12, 12, 180, 6)]
    assert rows_of(project, "text")[0] == ("About the chain_of_thought there is this to say.",)


def test_text_prompts_constrain_by_a_grammar(tmp_path: Path) -> None:
    with unkind_in_a_thread([says(texts())]) as server:
        project = opened(tmp_path, prompts="mine")
        prompts = tmp_path / "p" / "builders" / "prompts" / "mine.yaml"
        prompts.parent.mkdir()
        prompts.write_text(
            "kinds: {fundamentals: a, chain_of_thought: b, common_mistakes: c}\n"
            "one_call: '{% for kind in kinds %}{{ kind }}={{ asked[kind] }} {% endfor %}'\n"
        )
        project.augment("d", teacher=server.url)
        assert server.prompts == ["fundamentals=a chain_of_thought=b common_mistakes=c "]
        assert list(server.seen[0].body["parameters"]["grammar"]["value"]["properties"]) == list(KINDS)


@pytest.mark.parametrize(
    "answer", ["no JSON", "[]", '{"fundamentals": "a"}', texts(common_mistakes=["a"]), texts(common_mistakes=None)]
)
def test_an_answer_that_is_not_what_was_asked_is_a_fault(tmp_path: Path, answer: str) -> None:
    with unkind_in_a_thread([says(answer), says(answer), says(texts())]) as server:
        project = opened(tmp_path, prompts="one-call")
        state = project.augment("d", teacher=server.url)
        assert (state.tally.answered, state.tally.requests, state.tally.retries) == (3, 3, 2)
    with unkind_in_a_thread([says(answer)]) as server:
        other = opened(tmp_path / "other", prompts="one-call")
        state = other.augment("d", teacher=server.url)
        assert (state.tally.exhausted, state.tally.settled, len(server.seen)) == (3, 3, 6)
        failures = rows_of(other, "failure, status")
        assert len(failures) == 3
        assert all(failure.startswith("exhausted: the answer ") and status == "failed" for failure, status in failures)
        assert other.augment("d", teacher=server.url).already == 0


def test_one_call_that_is_cut_is_asked_longer_once(tmp_path: Path) -> None:
    half = cut(texts()[:60])
    with unkind_in_a_thread([half, says(texts())]) as server:
        project = opened(tmp_path, prompts="one-call", max_new_tokens=8)
        assert project.augment("d", teacher=server.url).tally.answered == 3
        assert [asked.budget for asked in server.seen] == [24, 48]
        assert project.augment("d", teacher=server.url).already == 3
    with unkind_in_a_thread([half]) as server:
        other = opened(tmp_path / "other", prompts="one-call", max_new_tokens=8)
        for done in (3, 0):
            assert other.augment("d", teacher=server.url).tally.truncated == done
        assert len(server.seen) == 2
    assert rows_of(other, "status, text") == [("truncated", "")] * 3
    assert other.check("d").books.truncated == 3


def test_a_server_without_grammars_refuses_every_kind(tmp_path: Path) -> None:
    with unkind_in_a_thread([fails(422, "grammar is not supported", "validation")]) as server:
        project = opened(tmp_path, prompts="one-call")
        assert project.augment("d", teacher=server.url).tally.refused == 3
        assert project.augment("d", teacher=server.url).already == 3
        assert len(server.seen) == 1
    assert all("grammar is not supported" in failure for (failure,) in rows_of(project, "failure"))


def test_a_call_of_which_a_part_is_missing_is_asked_whole_again(tmp_path: Path) -> None:
    """As a kill between the lines of one answer leaves it."""
    with unkind_in_a_thread([says(texts()), says(texts(fundamentals="The other one."))]) as server:
        project = opened(tmp_path, prompts="one-call")
        project.augment("d", teacher=server.url)
        for lost in (project.workspace.rationales("d") / "train" / "common_mistakes").iterdir():
            lost.unlink()
        state = project.augment("d", teacher=server.url)
        assert (state.tally.answered, state.already, len(server.seen)) == (3, 0, 2)
    assert len(rows_of(project, "text", "ledger")) == 5
    assert ("fundamentals", "The other one.") in rows_of(project, "kind, text")


# --- human rationales ------------------------------------------------------------------------------------------------

WITH_HUMAN = {"human": "chain_of_thought"}


def with_human(tmp_path: Path, catalog: str = "", **entries: Any) -> Project:
    parquet(tmp_path / "p" / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path / "p", SAMPLE | {"human_rationale": "h"}, **WITH_HUMAN, **entries)
    (tmp_path / "p" / "catalog.yaml").write_text(catalog)
    project = teacherlm.open(tmp_path / "p", workspace=tmp_path / "w")
    project.build("d")
    return project


def test_human_rationales_are_taken_and_the_rest_is_asked(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says("The answer is 8.")) as server:
        project = with_human(tmp_path, strategy="star")
        state = project.augment("d", teacher=server.url)
        assert (state.planned, state.taken, state.already, state.tally.settled, state.done) == (9, 1, 0, 8, 9)
        assert not any("wool" in prompt for prompt in server.prompts if prompt.endswith("step by step."))
        again = project.augment("d", teacher=server.url)
        assert (again.taken, again.already, again.tally.requests) == (0, 9, 0)
    columns = "text, status, teacher_model, prompt_sha256, attempts, repeat"
    (row,) = project.sql(f"SELECT {columns} FROM ledger WHERE strategy = 'human'").fetchall()
    assert row == ("Wool grows on sheep, which are shorn for it once in a year.", "ok", None, None, 0, 0)
    project.check("d")
    found = project.sql("SELECT chain_of_thought, provenance.chain_of_thought.strategy FROM augmented").fetchall()
    assert ("Wool grows on sheep, which are shorn for it once in a year.", "human") in found


def test_a_human_rationale_is_one_text_however_many_are_wanted(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says("It is so.")) as server:
        project = with_human(tmp_path, lab(server))
        state = project.augment("d", teacher="lab", repeats=2, kinds=COT)
        assert (state.planned, state.done, len(server.seen)) == (5, 5, 4)
        assert project.augment("d", teacher="lab", repeats=2, kinds=["fundamentals"]).planned == 6
    with unkind_in_a_thread(lambda asked: says(texts())) as server:
        other = with_human(tmp_path / "other", prompts="one-call")
        state = other.augment("d", teacher=server.url)
        assert (state.planned, state.done, state.tally.requests) == (9, 9, 3)
        wanted = [len(asked.body["response_format"]["value"]["properties"]) for asked in server.seen]
        assert sorted(wanted) == [2, 3, 3]


def test_a_changed_human_rationale_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    with unkind_in_a_thread(lambda asked: says("It is so.")) as server:
        project = with_human(tmp_path)
        project.augment("d", teacher=server.url, kinds=COT)
        changed = [row | {"h": row["h"] and row["h"].replace("shorn", "clipped")} for row in ROWS]
        parquet(tmp_path / "p" / "builders" / "rows.parquet", changed)
        project.build("d")
        assert project.augment("d", teacher=server.url, kinds=COT).taken == 1
    texts = project.sql("SELECT text FROM rationales WHERE strategy = 'human'").fetchall()
    assert texts == [("Wool grows on sheep, which are clipped for it once in a year.",)]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"human": "chain_of_thought"}, "`human` takes `human_rationale`, which `sample` lacks"),
        ({"human": "common_mistakes", "kinds": COT}, "`human` has common_mistakes, which `kinds` lacks"),
        ({"strategy": "star", "kinds": ["fundamentals"]}, "draws chains of thought, which `kinds` lacks"),
        ({"strategy": "stars"}, '`strategy` has "stars"'),
    ],
)
def test_recipes_whose_strategy_cannot_be(tmp_path: Path, entries: dict[str, Any], words: str) -> None:
    with pytest.raises(Mistakes) as caught:
        recipe(tmp_path, SAMPLE, **entries)
    assert words in str(caught.value)
