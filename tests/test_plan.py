"""`plan`: what it shows and counts, by whose tokenizer, at what cost, and that nobody is asked to write."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import teacherlm
from recipes import parquet, recipe
from scripted import teacher
from teacherlm.api.plan import Plan
from teacherlm.core.errors import Mistake, Mistakes
from teacherlm.teacher.profile import TeacherProfile

ROWS = [{"q": f"What comes after {n}?", "a": f"{n + 1}", "why": f"{n} + 1" if n % 2 else None} for n in range(8)]


class Counting(BaseHTTPRequestHandler):
    """A teacher that says what it takes, counts words, and refuses to write."""

    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self) -> None:
        self._send({"model_id": "tests/words", "max_total_tokens": 30, "max_input_tokens": 20})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(self.path)
        texts = [body["inputs"]] if "inputs" in body else [message["content"] for message in body["messages"]]
        tokens = [{"id": n} for text in texts for n, _ in enumerate(text.split())]
        self._send(tokens if self.path == "/tokenize" else {"tokenize_response": tokens, "templated_text": ""})

    def _send(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@contextmanager
def counting() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Counting,), {"asked": asked}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def planned(tmp_path: Path) -> teacherlm.Project:
    parquet(tmp_path / "builders" / "rows.parquet", ROWS)
    recipe(tmp_path, max_new_tokens=10)
    return teacherlm.open(tmp_path, workspace=tmp_path / "workspace")


def totals(plan: Plan) -> tuple[object, ...]:
    return plan.samples, plan.texts, plan.calls, plan.tokens_in, plan.tokens_out, plan.cost


def test_the_first_rows_of_a_local_source_are_shown_and_nothing_is_built(planned: teacherlm.Project) -> None:
    plan = planned.plan("d")
    assert (plan.rendered_from, plan.built, plan.samples, plan.rows) == ("source", False, 8, 8)
    assert [sample.text for sample in plan.first_samples][:2] == [
        "Q: What comes after 0? A: The answer is 1.",
        "Q: What comes after 1? A: The answer is 2.",
    ]
    assert len(plan.first_samples) == 5
    assert [example.kind for example in plan.examples] == list(plan.kinds)
    assert not planned.workspace.root.exists()
    planned.build("d")
    again = planned.plan("d", shown=2)
    assert (again.rendered_from, again.built, again.rows) == ("samples", True, None)
    assert len(again.examples) == 6
    assert totals(again) == totals(plan)


def test_without_a_teacher_tokens_are_estimated_and_it_says_so(planned: teacherlm.Project) -> None:
    plan = planned.plan("d")
    first = plan.asked[0]
    assert first.tokens_counted_by == "an estimate, characters / 4: no teacher was named"
    prompt = plan.examples[0].prompt
    assert isinstance(prompt, str)
    assert first.prompt_tokens_max == -(-len(prompt) // 4)
    assert (first.context, first.overflowing, first.cost) == (None, None, None)
    assert totals(plan) == (8, 24, 24, plan.tokens_in, 240, None)


def test_the_teacher_counts_and_says_its_limits_and_is_not_asked_to_write(planned: teacherlm.Project) -> None:
    with counting() as (url, asked):
        plan = planned.plan("d", teacher=url)
    assert set(asked) == {"/tokenize"}
    by_kind = {part.template: part for part in plan.asked}
    assert by_kind["fundamentals"].tokens_counted_by == "the tokenizer of tests/words"
    # "Q: What comes after 0? A: The answer is 1." are ten words, the requests six, five and four.
    assert [part.prompt_tokens_mean for part in plan.asked] == [16.0, 15.0, 14.0]
    assert [part.overflowing for part in plan.asked] == [0, 0, 0]
    assert plan.tokens_in == 8 * (16 + 15 + 14)


def test_prompts_that_leave_no_room_are_counted(planned: teacherlm.Project, tmp_path: Path) -> None:
    parquet(tmp_path / "builders" / "rows.parquet", [*ROWS, {"q": "why " * 12, "a": "so", "why": None}])
    with counting() as (url, _):
        assert [part.overflowing for part in planned.plan("d", teacher=url).asked] == [1, 1, 1]
        assert [part.overflowing for part in planned.plan("d", teacher=url, context=300).asked] == [0, 0, 0]
        assert [part.context for part in planned.plan("d", teacher=url, context=300).asked] == [300] * 3
    assert sum(part.overflowing or 0 for part in planned.plan("d", context=20).asked) == 27


def test_chats_are_counted_as_chats(planned: teacherlm.Project, tmp_path: Path) -> None:
    recipe(tmp_path, prompts="chat")
    with counting() as (url, asked):
        plan = planned.plan("d", teacher=url)
    assert set(asked) == {"/chat_tokenize"}
    assert plan.asked[0].prompt_tokens_mean is not None


def test_a_teacher_that_is_away_or_cannot_count(planned: teacherlm.Project) -> None:
    plan = planned.plan("d", teacher="http://127.0.0.1:9")
    assert "an estimate, characters / 4: no server answers at http://127.0.0.1:9" in plan.asked[0].tokens_counted_by
    with teacher(lambda prompt: 404) as served:
        plan = planned.plan("d", teacher=served.url)
    assert plan.asked[0].tokens_counted_by.endswith("does not count tokens")
    assert "the teacher is not running" in planned.plan("d", teacher="nano").asked[0].tokens_counted_by


def test_a_tokenizer_of_ones_own(planned: teacherlm.Project, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    plan = planned.plan("d", tokenizer=str(tmp_path))
    assert [part.prompt_tokens_mean for part in plan.asked] == [16.0, 15.0, 14.0]
    assert plan.asked[0].tokens_counted_by == f"the tokenizer {tmp_path}"
    (tmp_path / "broken.json").write_text("{")
    for name, words_of in (("absent.json", "no tokenizer.json"), (str(tmp_path / "broken.json"), "is no tokenizer")):
        with pytest.raises(Mistake, match=words_of):
            planned.plan("d", tokenizer=name)


def test_cost_by_tokens_and_by_the_hour(planned: teacherlm.Project, tmp_path: Path) -> None:
    with counting() as (url, _):
        prices = "price_per_million_input: 1000, price_per_million_output: 10000"
        (tmp_path / "catalog.yaml").write_text(
            f"teachers:\n  tokens: {{url: {url!r}, {prices}}}\n"
            f"  hours: {{url: {url!r}, gpu_hour: 3.6, tokens_per_second: 10}}\n"
        )
        project = teacherlm.open(tmp_path, workspace=tmp_path / "workspace")
        by_tokens = project.plan("d", teacher="tokens")
        assert by_tokens.cost == pytest.approx(360 * 0.001 + 240 * 0.01)
        assert project.plan("d", teacher="hours").cost == pytest.approx(240 / 10 * 0.001)


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ({"price_per_million_input": 1.0}, "needs `price_per_million_output`"),
        ({"gpu_hour": 1.0}, "needs `tokens_per_second`"),
        ({"gpu_hour": -1.0, "tokens_per_second": 5.0}, "`gpu_hour` is -1"),
        ({"gpu_hour": 1.0, "tokens_per_second": 0.0}, "`tokens_per_second` is 0"),
        (
            {
                "price_per_million_input": 1.0,
                "price_per_million_output": 1.0,
                "gpu_hour": 1.0,
                "tokens_per_second": 5.0,
            },
            "by tokens or by the hour",
        ),
    ],
)
def test_prices_that_make_no_sense(prices: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        TeacherProfile(url="http://127.0.0.1:8080", **prices)  # type: ignore[arg-type]


def test_a_human_rationale_is_not_asked_for(planned: teacherlm.Project, tmp_path: Path) -> None:
    recipe(tmp_path, {"question": "q", "answer": "a", "human_rationale": "why"}, human="chain_of_thought")
    plan = planned.plan("d")
    assert [part.calls for part in plan.asked] == [8, 4, 8]
    assert (plan.texts, plan.human, plan.calls) == (24, 4, 20)


def test_star_shows_its_questions_and_counts_no_hints(planned: teacherlm.Project, tmp_path: Path) -> None:
    recipe(tmp_path, strategy="star")
    plan = planned.plan("d")
    assert [part.template for part in plan.asked] == ["fundamentals", "star", "star_hinted", "common_mistakes"]
    assert plan.calls == 24
    assert {example.kind for example in plan.examples} == {*plan.kinds, "star_hinted"}


def test_lengths_of_earlier_answers_are_expected_again(planned: teacherlm.Project) -> None:
    planned.build("d")
    with teacher(lambda prompt: "one two three four") as served:
        planned.augment("d", teacher=served.url, limit=2)
    plan = planned.plan("d")
    assert plan.tokens_out == 24 * 4
    assert plan.asked[0].tokens_out_most == 80


def test_a_source_that_changed_its_shape_is_named_before_anybody_is_asked(
    planned: teacherlm.Project, tmp_path: Path
) -> None:
    recipe(tmp_path, source={"files": "rows.parquet", "columns": {"q": "VARCHAR", "text": "VARCHAR"}})
    with pytest.raises(Mistakes) as mistakes:
        planned.plan("d")
    assert "no column `text`" in mistakes.value.problems[0].found


def test_without_files_the_given_rows_are_shown(planned: teacherlm.Project, tmp_path: Path) -> None:
    examples: dict[str, Any] = {"given": [{"q": "Why?", "a": "so"}], "expect": [{"answer": "so"}]}
    recipe(tmp_path, source={"files": "absent.parquet"}, **examples)
    plan = planned.plan("d")
    assert (plan.rendered_from, plan.samples, plan.calls, len(plan.first_samples)) == ("given", None, None, 1)
    recipe(tmp_path, source={"hub": "a/b", "splits": {"train": "train"}, "rows": {"train": 1000}}, **examples)
    assert (planned.plan("d").samples, planned.plan("d").calls) == (1000, 3000)


def test_numbers_that_cannot_be(planned: teacherlm.Project) -> None:
    for options in ({"context": 0}, {"shown": -1}):
        with pytest.raises(Mistake, match=r"is (0|-1)"):
            planned.plan("d", **options)  # type: ignore[arg-type]
    assert planned.plan("d", shown=0).examples == ()


def test_all_kinds_in_one_call(planned: teacherlm.Project, tmp_path: Path) -> None:
    recipe(tmp_path, prompts="one-call", max_new_tokens=10)
    plan = planned.plan("d")
    (part,) = plan.asked
    assert (part.template, part.calls, part.max_new_tokens) == ("one_call", 8, 30)
    assert totals(plan) == (8, 24, 8, plan.tokens_in, 240, None)
    assert [example.kind for example in plan.examples] == ["one_call"]


def test_a_teacher_for_each_kind(planned: teacherlm.Project, tmp_path: Path) -> None:
    with counting() as (url, _):
        kinds = "{fundamentals: a, chain_of_thought: b, common_mistakes: b}"
        (tmp_path / "catalog.yaml").write_text(
            f"teachers:\n  a: {{url: {url!r}}}\n  b: {{embedded: nano}}\n  both: {{kinds: {kinds}}}\n"
        )
        plan = teacherlm.open(tmp_path, workspace=tmp_path / "workspace").plan("d", teacher="both")
    assert [(part.template, part.teacher) for part in plan.asked] == [
        ("fundamentals", "a"),
        ("chain_of_thought", "b"),
        ("common_mistakes", "b"),
    ]
    assert [part.tokens_counted_by.partition(":")[0] for part in plan.asked] == [
        "the tokenizer of tests/words",
        *["an estimate, characters / 4"] * 2,
    ]
