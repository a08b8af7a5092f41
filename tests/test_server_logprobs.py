"""Log-probabilities that the server gives: of prompts and of answers, in both protocols, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import torch

from serving import Gate, ask, generate, random_model, serving
from teacherlm.lm.forward import Forward
from teacherlm.lm.load import LoadedModel
from teacherlm.lm.prefill import read_told
from teacherlm.lm.prompts import beginnings
from teacherlm.lm.tokens import Tokens
from test_server_generate import toy

QUESTION = "Q: Why does iron rust? (A) water (B) the moon A: The answer is"
OPTIONS = (" (A).", " (B).", " water.", " the moon and the sun.")
EMOJI = "naïve 🦜 日本 ж"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        yield client


def plain(loaded: LoadedModel, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities behind each token, shape (tokens, vocabulary): one pass, no padding and no cache."""
    with torch.inference_mode():
        return loaded.model(torch.tensor([list(ids)])).logits[0].log_softmax(dim=-1)  # type: ignore[no-any-return]


def own(loaded: LoadedModel, ids: Sequence[int]) -> list[float]:
    """Those of the text's own tokens but the first."""
    after = plain(loaded, ids)[:-1]
    return after.gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def encoded(text: str) -> tuple[int, ...]:
    return tuple(Tokens(random_model().tokenizer).encode(text))


# The model's part.


@pytest.mark.parametrize("kind", ["bloom", "opt", "llama"])
@pytest.mark.parametrize("most", [1, 7, 10_000])
@pytest.mark.parametrize("alike", [True, False])
def test_prompts_are_told_as_one_plain_pass_tells_them(kind: str, most: int, alike: bool) -> None:
    loaded = toy(kind)
    texts = [QUESTION + option for option in OPTIONS] if alike else [QUESTION, "Iron rusts", "Ice", "a"]
    prompts = [encoded(text) for text in texts]
    assert (beginnings(prompts) is not None) is alike
    with torch.inference_mode():
        read, told = read_told(Forward(loaded), prompts, 3, "cpu", most)
    for row, (prompt, one) in enumerate(zip(prompts, told, strict=True)):
        logprobs = plain(loaded, prompt)
        assert list(one.values) == pytest.approx(own(loaded, prompt), abs=1e-4)
        assert len(one.likeliest) == len(prompt) - 1
        for position, best in enumerate(one.likeliest):
            values, ids = logprobs[position].topk(3)
            assert [token for token, _ in best] == ids.tolist()
            assert [value for _, value in best] == pytest.approx(values.tolist(), abs=1e-4)
        assert read.logits[row].log_softmax(dim=-1).tolist() == pytest.approx(logprobs[-1].tolist(), abs=1e-3)


# TGI's protocol.


@pytest.mark.parametrize("text", [QUESTION, EMOJI, "a"])
def test_prefill_tells_each_token_of_the_prompt(url: str, text: str) -> None:
    prefill = generate(url, text, max_new_tokens=1, details=True, decoder_input_details=True)["details"]["prefill"]
    ids = encoded(text)
    assert [token["id"] for token in prefill] == list(ids)
    assert [set(token) for token in prefill] == [{"id", "text", "logprob"}] * len(ids)
    assert prefill[0]["logprob"] is None
    assert [token["logprob"] for token in prefill[1:]] == pytest.approx(own(random_model(), ids), abs=1e-4)


def test_prefill_is_empty_where_nobody_asks(url: str) -> None:
    assert generate(url, QUESTION, max_new_tokens=1, details=True)["details"]["prefill"] == []


def test_prefill_of_a_truncated_prompt_is_that_of_its_last_tokens(url: str) -> None:
    asked = {"max_new_tokens": 1, "decoder_input_details": True, "truncate": 4}
    prefill = generate(url, QUESTION, **asked)["details"]["prefill"]
    ids = encoded(QUESTION)[-4:]
    assert [token["id"] for token in prefill] == list(ids)
    assert [token["logprob"] for token in prefill[1:]] == pytest.approx(own(random_model(), ids), abs=1e-4)


def test_company_changes_neither_prefill_nor_answers(url: str) -> None:
    """Rows that write and rows that are told of join at the same moment."""
    asked: list[dict[str, Any]] = [{"decoder_input_details": True}, {}] * len(OPTIONS)
    texts = [QUESTION + option for option in OPTIONS for _ in range(2)]

    def one(place: int) -> Any:
        return generate(url, texts[place], max_new_tokens=9, details=True, **asked[place])

    alone = [one(place) for place in range(len(texts))]
    with ThreadPoolExecutor(len(texts)) as pool:
        together = list(pool.map(one, range(len(texts))))
    for before, after in zip(alone, together, strict=True):
        assert after["generated_text"] == before["generated_text"]
        values = [[token["logprob"] for token in told["details"]["prefill"]][1:] for told in (before, after)]
        assert values[0] == pytest.approx(values[1], abs=1e-4)


def test_a_running_batch_goes_on_while_prompts_are_told() -> None:
    """Behind a gate, the row that writes is in the batch when the others come, and all of them are answered."""
    gate = Gate()
    with serving(gate.loaded) as url, ThreadPoolExecutor(6) as pool:
        writing = pool.submit(generate, url, "Iron", max_new_tokens=12)
        assert gate.reached.wait(30)
        told = [
            pool.submit(generate, url, QUESTION + option, max_new_tokens=1, decoder_input_details=True)
            for option in OPTIONS
        ]
        gate.open.set()
        alone = {option: encoded(QUESTION + option) for option in OPTIONS}
        for option, future in zip(OPTIONS, told, strict=True):
            values = [token["logprob"] for token in future.result()["details"]["prefill"]][1:]
            assert values == pytest.approx(own(random_model(), alone[option]), abs=1e-4)
        assert writing.result()["generated_text"]


# OpenAI's protocol.


def test_echo_tells_prompt_and_answer(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="m", prompt=QUESTION, max_tokens=3, temperature=0, echo=True, logprobs=2)
    (choice,) = answer.choices
    told = choice.logprobs
    assert told is not None and answer.usage is not None
    assert told.tokens and told.token_logprobs and told.top_logprobs and told.text_offset
    ids = encoded(QUESTION)
    assert choice.text.startswith(QUESTION)
    assert "".join(told.tokens) == choice.text
    assert [choice.text[start:].startswith(token) for start, token in zip(told.text_offset, told.tokens, strict=True)]
    assert told.text_offset == [sum(map(len, told.tokens[:place])) for place in range(len(told.tokens))]
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (len(ids), 3)
    # OpenAI's types have no null here, which its API sends all the same.
    assert [told.model_dump()[name][0] for name in ("token_logprobs", "top_logprobs")] == [None, None]
    assert told.token_logprobs[1 : len(ids)] == pytest.approx(own(random_model(), ids), abs=1e-4)
    for value, top in zip(told.token_logprobs[1:], told.top_logprobs[1:], strict=True):
        assert 2 <= len(top) <= 3
        assert value in top.values()
    # The answer is greedy.
    assert [max(top.values()) for top in told.top_logprobs[len(ids) :]] == told.token_logprobs[len(ids) :]


def test_echo_without_room_gives_the_prompt_alone(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="m", prompt=EMOJI, max_tokens=0, temperature=0, echo=True, logprobs=0)
    (choice,) = answer.choices
    assert choice.text == EMOJI
    assert choice.logprobs is not None and answer.usage is not None
    told = choice.logprobs
    assert "".join(told.tokens or ()) == EMOJI
    assert "" in (told.tokens or ())  # the first parts of a character
    assert len(told.token_logprobs or ()) == answer.usage.prompt_tokens == len(encoded(EMOJI))
    assert answer.usage.completion_tokens == 0
    assert {len(top) for top in (told.top_logprobs or ())[1:]} == {1}  # the token itself


def test_token_ids_are_prompts_too(client: openai.OpenAI) -> None:
    texts = [QUESTION + option for option in OPTIONS]
    asked: dict[str, Any] = {"model": "m", "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
    written = client.completions.create(prompt=texts, **asked)
    counted = client.completions.create(prompt=[list(encoded(text)) for text in texts], **asked)
    (alone,) = client.completions.create(prompt=list(encoded(texts[2])), **asked).choices
    by_index = sorted(written.choices, key=lambda choice: choice.index)
    assert [choice.text for choice in by_index] == [
        choice.text for choice in sorted(counted.choices, key=lambda choice: choice.index)
    ]
    assert alone.text == by_index[2].text
    assert alone.logprobs is not None and by_index[2].logprobs is not None
    assert alone.logprobs.token_logprobs is not None and by_index[2].logprobs.token_logprobs is not None
    assert alone.logprobs.token_logprobs[1:] == pytest.approx(by_index[2].logprobs.token_logprobs[1:], abs=1e-4)


def test_answers_have_logprobs_where_asked_and_echo_may_come_without(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": "Iron", "max_tokens": 4, "temperature": 0}
    told = client.completions.create(logprobs=1, **asked).choices[0]
    assert told.logprobs is not None
    assert "".join(told.logprobs.tokens or ()) == told.text
    details = ask(
        str(client.base_url).removesuffix("/v1/"),
        "/generate",
        {"inputs": "Iron", "parameters": {"max_new_tokens": 4, "details": True}},
    ).json()["details"]
    assert told.logprobs.token_logprobs == [token["logprob"] for token in details["tokens"]]
    assert client.completions.create(**asked).choices[0].logprobs is None
    echoed = client.completions.create(echo=True, **asked).choices[0]
    assert (echoed.text, echoed.logprobs) == ("Iron" + told.text, None)


def test_streams_tell_what_answers_tell(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "m", "prompt": QUESTION, "max_tokens": 6, "temperature": 0, "logprobs": 2}
    whole = client.completions.create(**asked).choices[0].logprobs
    parts = [chunk.choices[0].logprobs for chunk in client.completions.create(stream=True, **asked)]
    assert whole is not None
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert [one for part in parts for one in getattr(part, name)] == getattr(whole, name)


def test_chats_tell_bytes_and_the_likeliest(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": "x"}],
        max_tokens=3,
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    told = answer.choices[0].logprobs
    assert told is not None and told.content is not None
    assert b"".join(bytes(entry.bytes or ()) for entry in told.content).decode() == answer.choices[0].message.content
    assert all(entry.logprob == entry.top_logprobs[0].logprob for entry in told.content)


# What is refused, and what is not.

UNSUPPORTED: list[tuple[str, Any]] = [
    ("logit_bias", {"50": 1}),
    ("presence_penalty", 0.5),
    ("best_of", 2),
    ("min_p", 0.1),
    ("ignore_eos", True),
    ("stop_token_ids", [3]),
    ("response_format", {"type": "json_object"}),
    ("guided_json", {"type": "object"}),
    ("n", 2),
]


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_what_would_change_the_answer_unseen_is_refused_by_name(url: str, path: str, name: str, value: Any) -> None:
    body = {"prompt": "x"} if path == "completions" else {"messages": [{"role": "user", "content": "x"}]}
    answer = ask(url, f"/v1/{path}", {**body, name: value})
    assert (answer.status, answer.json()["error_type"]) == (422, "validation")
    assert ("grammar" if name == "response_format" else name) in answer.json()["error"]
    (event,) = ask(url, f"/v1/{path}", {**body, name: value, "stream": True}).events()
    assert event["error"]["message"] == answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/completions", {"prompt": "x", "echo": True, "stream": True}, "echo"),
        ("/v1/completions", {"prompt": "x", "logprobs": 6}, "logprobs"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}, "max_new_tokens"),
        ("/v1/completions", {"prompt": [1, 512]}, "no token 512"),
        ("/v1/completions", {"prompt": [[1], []]}, "inputs"),
        ("/v1/chat/completions", {"messages": [], "echo": True}, "echo"),
        ("/v1/chat/completions", {"messages": [], "top_logprobs": 2}, "top_logprobs"),
        ("/v1/chat/completions", {"messages": [], "logprobs": True, "top_logprobs": 9}, "top_logprobs"),
        ("/generate", {"inputs": "x", "parameters": {"logit_bias": {"5": 1}}}, "logit_bias"),
    ],
)
def test_refusals_name_what_is_wrong(url: str, path: str, body: dict[str, Any], name: str) -> None:
    answer = ask(url, path, body)
    if answer.status == 200:  # a stream
        assert name in answer.events()[0]["error"]["message"]
    else:
        assert (answer.status, answer.json()["error_type"]) == (422, "validation")
        assert name in answer.json()["error"]


def test_values_that_change_nothing_and_unknown_names_are_passed_over(url: str) -> None:
    neutral: dict[str, Any] = {
        "logit_bias": None,
        "presence_penalty": 0,
        "best_of": 1,
        "min_p": 0.0,
        "ignore_eos": False,
        "stop_token_ids": [],
        "top_k": -1,
        "user": "me",
        "nobody_knows": {"this": 1},
        "response_format": {"type": "text"},
    }
    body = {"prompt": QUESTION, "max_tokens": 5, "temperature": 0}
    assert (
        ask(url, "/v1/completions", body | neutral).json()["choices"]
        == (ask(url, "/v1/completions", body).json()["choices"])
    )


def test_filters_that_openai_does_not_know_work_and_leave_greedy_answers_alone(url: str) -> None:
    body: dict[str, Any] = {"prompt": QUESTION, "max_tokens": 5}
    greedy = ask(url, "/v1/completions", body | {"temperature": 0}).json()["choices"]
    assert ask(url, "/v1/completions", body | {"temperature": 0, "top_k": 40}).json()["choices"] == greedy
    one = ask(url, "/v1/completions", body | {"temperature": 1.5, "top_k": 1, "seed": 3}).json()["choices"]
    assert one == greedy
    kind, harsh = (
        ask(url, "/v1/completions", {**body, "max_tokens": 40, "temperature": 0, "repetition_penalty": penalty}).json()
        for penalty in (1.0, 50.0)
    )
    assert harsh["choices"] != kind["choices"]
