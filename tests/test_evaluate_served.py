"""Served models as benchmarks ask them: the same values as in this process, whatever server gives them, or a reason."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import openai_shapes
from openai_shapes import Answer, Route, card, shaped, vllm_card
from random_teacher import TEXT, random_teacher
from replies import BUSY, DROP, INCOMPLETE, MALFORMED, Asked, Reply, plain
from serving import random_model, serving
from teacherlm.core.errors import Mistake, RemoteFailed
from teacherlm.evaluate.scorer import Asked as Question
from teacherlm.evaluate.scorer import LocalScorer
from teacherlm.evaluate.served import ServedScorer, connect, open_served
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.score import LogLikelihood, score
from teacherlm.lm.tokens import Tokens
from teacherlm.teacher.patience import Retry, Timeout
from test_server_generate import toy
from unkind import INFO, unkind_in_a_thread

QUESTION = "Q: Why does iron rust? (A) water (B) the moon A: The answer is"
REQUESTS = [
    *((QUESTION, option) for option in (" (A).", " (B).", " water.", " the moon and the sun.", " 🦜🏽", "日本")),
    ("Q: Which day comes after Monday? A: ", "Tuesday"),
    ("Q: Which day comes after Monday? A:\n\n", " Tuesday"),
    (QUESTION, " ."),
    ("Iron", " rusts" * 9),
    ("naïve 🦜", "🦜 x"),
]
SOON = Retry(attempts=4, first_s=0.001, longest_s=0.002)
IMPATIENT = Timeout(patience_s=0.05)
PROTOCOLS = pytest.mark.parametrize("path", ["", "/v1"], ids=["tgi", "openai"])


def nothing(done: int) -> None:
    """Progress that nobody reads."""


@cache
def llama() -> LoadedModel:
    """A model whose tokenizer puts a begin token before a text and loses blanks token by token, as Llama's does."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    special = [AddedToken(word, special=True) for word in ("<unk>", "<s>", "</s>")]
    tokenizer.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=512, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    make: Any = PreTrainedTokenizerFast
    wrapped = make(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return replace(toy("llama"), tokenizer=wrapped, eos_ids=frozenset([2]))


MODELS: dict[str, Callable[[], LoadedModel]] = {
    "bloom": lambda: replace(random_model(), max_total_tokens=256),
    "gpt2": lambda: replace(toy("gpt2"), max_total_tokens=256),
    "llama": lambda: replace(llama(), max_total_tokens=256),
}


@pytest.fixture(scope="module", params=MODELS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[LoadedModel, str]]:
    loaded = MODELS[request.param]()
    with serving(loaded) as url:
        yield loaded, url


def same(found: Sequence[LogLikelihood], expected: Sequence[LogLikelihood]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.sum == pytest.approx(other.sum, abs=1e-4)
        assert replace(one, sum=0.0) == replace(other, sum=0.0)


@PROTOCOLS
def test_served_log_likelihoods_are_those_of_this_process(served: tuple[LoadedModel, str], path: str) -> None:
    loaded, url = served
    told: list[int] = []
    found = connect(url + path).loglikelihoods(REQUESTS, told.append)
    same(found, score(loaded, REQUESTS))
    assert sorted(told) == list(range(1, len(REQUESTS) + 1))


@PROTOCOLS
def test_greedy_continuations_are_known_as_such(served: tuple[LoadedModel, str], path: str) -> None:
    loaded, url = served
    question = Question(prompt=QUESTION, max_gen_toks=3)
    (written,) = LocalScorer(loaded, "m", window=loaded.max_total_tokens).generate([question], nothing)
    requests = [(QUESTION, written.text), (QUESTION, written.text + "x"), (QUESTION, " (A).")]
    expected = score(loaded, requests)
    assert any(one.greedy for one in expected) or loaded.tokenizer.bos_token  # there, texts do not encode as written
    same(connect(url + path).loglikelihoods(requests, nothing), expected)


@PROTOCOLS
def test_what_is_too_long_is_cut_from_the_left_and_counted(path: str) -> None:
    small = replace(random_model(), max_total_tokens=24)
    requests = [("one two three four five six seven " * 5 + QUESTION, option) for option in (" water.", " (A).")]
    with serving(small) as url:
        found = connect(url + path).loglikelihoods([*requests, ("Iron", " rusts")], nothing)
        with pytest.raises(Mistake, match=r"more tokens than the server takes \(23\)"):
            connect(url + path).loglikelihoods([("Iron", " rusts" * 30)], nothing)
    # The server always writes a token, and reads the last one: two tokens less than in this process.
    same(found, score(small, [*requests, ("Iron", " rusts")], window=22))
    assert found[0].cut > 0 == found[2].cut


@PROTOCOLS
def test_an_empty_context_needs_a_begin_token(path: str) -> None:
    request = [("", "Iron rusts")]
    with serving(random_model()) as url, pytest.raises(Mistake, match="no begin token") as caught:
        connect(url + path).loglikelihoods(request, nothing)
    assert "without a server" in caught.value.remedy
    if path:  # TGI shows tokens that have lost their blanks, and a context of nothing cannot be counted
        with serving(llama()) as url:
            same(connect(url + path).loglikelihoods(request, nothing), score(llama(), request))


@PROTOCOLS
def test_a_token_that_spans_the_border_belongs_to_the_continuation(path: str) -> None:
    tokens = Tokens(random_model().tokenizer)
    context, continuation = "The answer is a an", "swer"
    assert tokens.decode(tokens.encode(context + continuation)[-1:]) == " answer"
    assert len(tokens.encode(context)) >= len(tokens.encode(context + continuation))
    with serving(random_model()) as url:
        (found,) = connect(url + path).loglikelihoods([(context, continuation)], nothing)
    (whole,) = score(random_model(), [("The answer is a", " answer")])
    assert found.sum == pytest.approx(whole.sum, abs=1e-4)
    assert found.tokens == 1


@PROTOCOLS
def test_served_texts_are_those_of_this_process(served: tuple[LoadedModel, str], path: str) -> None:
    loaded, url = served
    asked = [
        Question(prompt=QUESTION, max_gen_toks=12),
        Question(prompt=QUESTION, max_gen_toks=30, until=("e", "", "zzz", "yyy", "xxx", "www", "t")),
        Question(prompt="Iron", max_gen_toks=12, do_sample=True, temperature=0.7, top_k=9, top_p=1.0, seed=5),
        Question(prompt="Iron", max_gen_toks=12, do_sample=True, temperature=0.0, top_p=0.5),
        Question(prompt="one two three " * 200, max_gen_toks=5),
    ]
    told: list[int] = []
    found = connect(url + path).generate(asked, told.append)
    expected = LocalScorer(loaded, "m", window=loaded.max_total_tokens).generate(asked, nothing)
    # Read as a whole, a text loses the blank that it begins with where the tokenizer writes blanks before words.
    assert [one.text.lstrip() for one in found] == [one.text.lstrip() for one in expected]
    assert [one.cut for one in found] == [one.cut for one in expected]
    assert found[0].finish_reason == expected[0].finish_reason
    assert found[4].cut > 0
    assert told == [1, 2, 3, 4, 5]
    with pytest.raises(Mistake, match="leave no room for a prompt in a window of"):
        connect(url + path).generate([Question(prompt="x", max_gen_toks=4000)], nothing)


def test_a_server_says_which_model_it_is() -> None:
    with serving(random_model()) as url:
        scorer = connect(url)
        about = scorer.about
    assert (about.name, about.sha, about.window) == (url, random_model().model_sha, 2048)
    assert random_model().model_sha in about.fingerprint
    assert random_model().model_id in repr(scorer)


def test_a_notebook_can_ask_as_well() -> None:
    """There a loop runs already."""

    async def cell(url: str) -> list[LogLikelihood]:
        return connect(url).loglikelihoods(REQUESTS[:2], nothing)

    with serving(random_model()) as url:
        same(asyncio.run(cell(url)), score(random_model(), REQUESTS[:2]))


# Servers of other kinds.

WORDS = ["The", " sky", " is", " not", " blue"]
VALUES = [None, -3.0, -0.5, -2.0, -0.25]


def echo(body: dict[str, Any], words: Sequence[str], values: Sequence[float | None], **more: Any) -> dict[str, Any]:
    """A completion's answer with the prompt echoed and one token written."""
    told = [*words, "!"], [*values, -1.0]
    tops: list[dict[str, float] | None] = [None, *({word: value} for word, value in zip(*told, strict=True) if value)]
    tops = [{**top, " was": -0.1} if top and " is" in top else top for top in tops]  # there it is not the likeliest
    logprobs = {"tokens": told[0], "token_logprobs": told[1], "top_logprobs": tops, "text_offset": [-1] * len(told[0])}
    usage = {"prompt_tokens": len(words), "completion_tokens": 1, "total_tokens": len(words) + 1}
    choice = {"index": 0, "text": f"{body['prompt']}!", "logprobs": logprobs, "finish_reason": "length"}
    return {"model": "m", "choices": [choice], "usage": usage, **more}


def sglang(body: dict[str, Any]) -> Answer:
    """Tells no offsets."""
    return 200, echo(body, WORDS, VALUES)


def vllm(body: dict[str, Any]) -> Answer:
    """Names the begin token, which is no part of the text."""
    return 200, echo(body, ["<s>", *WORDS], [None, -4.0, *VALUES[1:]])


def silent(body: dict[str, Any]) -> Answer:
    """Does not count what it read."""
    return 200, echo(body, WORDS, VALUES, usage=None)


def blankless(body: dict[str, Any]) -> Answer:
    """Loses the blanks before words, as sentencepiece's pieces do one by one."""
    words = body["prompt"].split()
    return 200, echo(body, words, VALUES[: len(words)])


@pytest.mark.parametrize("answer", [sglang, vllm, silent, blankless])
def test_servers_of_every_kind_are_read(answer: Route) -> None:
    with shaped({"/v1/models": openai_shapes.models(card("m")), "/v1/completions": answer}) as server:
        found = connect(server.url).loglikelihoods([("The sky is", " not blue"), ("The sky ", "is not blue")], nothing)
        sent = [body for path, body in server.asked if path == "/v1/completions" and body.get("echo")]
    assert [one.sum for one in found] == [-2.25, -2.75]
    assert [(one.tokens, one.characters) for one in found] == [(2, 9), (3, 11)]
    assert [one.greedy for one in found] == [True, answer is blankless]
    assert sent[0] == {
        "model": "m",
        "prompt": "The sky is not blue",
        "max_tokens": 1,
        "temperature": 0.0,
        "echo": True,
        "logprobs": 1,
    }


def test_null_is_no_number() -> None:
    def broken(body: dict[str, Any]) -> Answer:
        return 200, echo(body, WORDS, [None, -3.0, -0.5, None, -0.25])

    with shaped({"/v1/models": openai_shapes.models(card("m")), "/v1/completions": broken}) as server:
        (found,) = connect(server.url).loglikelihoods([("The sky is", " not blue")], nothing)
    assert math.isnan(found.sum)


def test_a_text_too_long_for_vllm_is_cut_by_its_tokens() -> None:
    def completions(body: dict[str, Any]) -> Answer:
        if isinstance(body["prompt"], str):
            return 400, {"object": "error", "message": "maximum context length is 5 tokens", "code": 400}
        assert body["prompt"] == [1, 2, 3, 4]
        return 200, echo(body, WORDS[1:], [None, *VALUES[2:]])

    def tokenize(body: dict[str, Any]) -> Answer:
        words = body["prompt"].split()
        return 200, {"count": len(words), "tokens": list(range(len(words)))}

    listed = openai_shapes.models(vllm_card("m", max_model_len=5))
    with shaped({"/v1/models": listed, "/v1/completions": completions, "/tokenize": tokenize}) as server:
        (found,) = connect(server.url).loglikelihoods([("The sky is", " not blue")], nothing)
    assert (found.sum, found.tokens, found.cut) == (-2.25, 2, 1)


NO_ECHO = 400, {"error": {"message": "Setting 'echo' and 'logprobs' at the same time is not supported"}}


@pytest.mark.parametrize(
    ("completions", "why"),
    [
        (openai_shapes.completion(), "no `logprobs` of the prompt"),  # llama.cpp, `transformers serve`
        ((200, {"choices": [{"text": "!", "logprobs": {"tokens": ["!"], "token_logprobs": [-1.0]}}]}), "no `logprobs`"),
        (NO_ECHO, "Setting 'echo'"),
        (openai_shapes.missing("/v1/completions"), "404"),
    ],
)
def test_a_server_without_log_probabilities_is_named_with_the_remedy(completions: Route, why: str) -> None:
    routes = {"/v1/models": openai_shapes.models(card("m")), "/v1/completions": completions}
    with shaped(routes) as server, pytest.raises(Mistake, match=f"{server.url} gives no log-probabilities") as caught:
        connect(server.url).loglikelihoods(REQUESTS, nothing)
    assert why in caught.value.found
    assert "multiple_choice" in caught.value.remedy and "_cot" in caught.value.remedy


def prefill(asked: Asked) -> Reply:
    """TGI's answer to a text of which each letter is a token of its own, -1 each."""
    tokens = [
        {"id": ord(one), "text": one, "logprob": -1.0 if place else None} for place, one in enumerate(asked.prompt)
    ]
    written = [{"id": ord("b"), "text": "b", "logprob": -0.5, "special": False}] * asked.budget
    details = {"finish_reason": "length", "generated_tokens": 1, "seed": None, "prefill": tokens, "tokens": written}
    return plain(200, orjson.dumps({"generated_text": "b", "details": details}).decode(), "application/json")


def test_tgi_without_prefill_logprobs_is_told_the_flag() -> None:
    def empty(asked: Asked) -> Reply:
        return replace(prefill(asked), body=b'{"generated_text":"b","details":{"prefill":[],"tokens":[]}}')

    with unkind_in_a_thread(empty) as server, pytest.raises(Mistake, match="`prefill` is empty") as caught:
        connect(server.url).loglikelihoods(REQUESTS, nothing)
    assert "--enable-prefill-logprobs" in caught.value.remedy


@pytest.mark.parametrize("fault", [BUSY, INCOMPLETE, DROP, MALFORMED])
def test_faults_are_asked_again(fault: Reply) -> None:
    with unkind_in_a_thread(lambda asked: fault if asked.attempt < 3 else prefill(asked)) as server:
        scorer = connect(server.url, retry=SOON)
        (found, other) = scorer.loglikelihoods([("aa", "bb"), ("aa", "ba")], nothing)
        assert scorer.generate([Question(prompt="x", max_gen_toks=1)], nothing)[0].text == "b"
    assert (found.sum, found.greedy, other.sum, other.greedy) == (-2.0, True, -2.0, False)


def test_a_fault_that_stays_stops_with_its_reason() -> None:
    with unkind_in_a_thread([INCOMPLETE]) as server, pytest.raises(RemoteFailed, match="failed 4 times") as caught:
        connect(server.url, retry=SOON).loglikelihoods(REQUESTS, nothing)
    assert "Incomplete generation" in caught.value.found and "the question ends with" in caught.value.found


def test_a_server_that_dies_midway_ends_the_run_by_name() -> None:
    told: list[int] = []

    def dies(asked: Asked) -> Reply:
        if asked.number == 5:
            dying.append(asyncio.ensure_future(server.leave()))
        return prefill(asked)

    dying: list[asyncio.Future[None]] = []
    said: list[str] = []
    with unkind_in_a_thread(dies) as server:
        scorer = connect(server.url, retry=SOON, timeout=IMPATIENT, concurrency=2, tell=said.append)
        with pytest.raises(RemoteFailed, match=f"{server.url} has been away") as caught:
            scorer.loglikelihoods([("a" * place, "bb") for place in range(1, 40)], told.append)
        assert "run again" in caught.value.remedy
        assert 0 < len(told) < 39
        assert [one.split(" (")[0] for one in said] == [f"{server.url} does not answer"]
        with pytest.raises(RemoteFailed):
            connect(server.url, timeout=IMPATIENT)


def test_another_model_in_its_place_is_noticed() -> None:
    with unkind_in_a_thread(prefill) as server:
        scorer = connect(server.url)
        server.info = plain(200, orjson.dumps({**INFO, "model_sha": "0ther"}).decode(), "application/json")
        with pytest.raises(RemoteFailed, match="0ther"):
            scorer.loglikelihoods([("a", "b")], nothing)


def test_a_refused_text_is_shown() -> None:
    refusal = Reply(422, b'{"error":"Input validation error: no parrots","error_type":"validation"}')
    with unkind_in_a_thread([refusal]) as server, pytest.raises(Mistake, match="no parrots") as caught:
        connect(server.url).loglikelihoods([("x" * 300, " parrot")], nothing)
    assert "…" in caught.value.found and " parrot'" in caught.value.found


@PROTOCOLS
def test_keys_are_sent_and_never_shown(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(random_model(), api_key="hush-hush") as url:
        with pytest.raises(RemoteFailed, match=r"does not let us in") as caught:
            connect(url + path, token="wrong-key").loglikelihoods(REQUESTS, nothing)
        assert "$TEACHERLM_TEACHER_TOKEN" in caught.value.remedy
        assert "wrong-key" not in str(caught.value) + repr(caught.value.__cause__)
        monkeypatch.setenv("TEACHERLM_TEACHER_TOKEN", "hush-hush")
        scorer = connect(url + path)
        same(scorer.loglikelihoods(REQUESTS[:2], nothing), score(random_model(), REQUESTS[:2]))
        assert "hush-hush" not in repr(scorer)


def test_a_key_that_the_server_repeats_is_hidden() -> None:
    def repeats(asked: Asked) -> Reply:
        return Reply(400, f'{{"error":"odd key {asked.headers["authorization"]}"}}'.encode())

    with unkind_in_a_thread(repeats) as server, pytest.raises(Mistake, match="odd key") as caught:
        connect(server.url, token="hush-hush").loglikelihoods([("a", "b")], nothing)
    assert "hush-hush" not in str(caught.value)


def test_nobody_there() -> None:
    with pytest.raises(RemoteFailed, match="no server answers at") as lost, open_served("http://127.0.0.1:9"):
        pass
    with pytest.raises(Mistake, match="is no URL") as wrong:
        connect("http://me:pass word@x")
    for error in (lost.value, wrong.value):
        assert "--teacher" not in str(error) and "pass word" not in str(error)


def test_of_several_models_one_is_chosen() -> None:
    listed = openai_shapes.models(card("a"), card("b"))
    with shaped({"/v1/models": listed, "/v1/completions": sglang}) as server:
        with pytest.raises(Mistake, match="`a`, `b`") as caught:
            connect(server.url)
        assert "catalog.yaml" not in caught.value.remedy
        scorer: ServedScorer = connect(server.url, model="b")
        scorer.loglikelihoods([("The sky is", " not blue")], nothing)
        assert {body["model"] for path, body in server.asked if path == "/v1/completions"} == {"b"}


@pytest.mark.slow
def test_the_harness_reads_the_same_from_our_server() -> None:
    """`local-completions` of lm-evaluation-harness, with the tokenizer's ids as prompts."""
    pytest.importorskip("tenacity", reason="lm-evaluation-harness[api] is not installed")
    api: Any = pytest.importorskip("lm_eval.api.instance", reason="lm-evaluation-harness is not installed")
    served_models: Any = pytest.importorskip("lm_eval.models.openai_completions")
    with serving(random_model()) as url:
        for batch, concurrent in ((1, 1), (4, 1), (1, 4)):
            harness = served_models.LocalCompletionsAPI(
                base_url=f"{url}/v1/completions",
                tokenizer_backend="huggingface",
                tokenizer=random_teacher(),
                model="m",
                batch_size=batch,
                num_concurrent=concurrent,
            )
            found = harness.loglikelihood(
                [
                    api.Instance(request_type="loglikelihood", doc={}, arguments=request, idx=place)
                    for place, request in enumerate(REQUESTS)
                ]
            )
            expected = connect(url).loglikelihoods(REQUESTS, nothing)
            assert [value for value, _ in found] == pytest.approx([one.sum for one in expected], abs=1e-4)
            assert [best for _, best in found] == [one.greedy for one in expected]
