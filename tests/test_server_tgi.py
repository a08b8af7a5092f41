"""TGI's protocol over a real socket: raw HTTP, and Hugging Face's own client."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import GenerationError, OverloadedError, ValidationError

from random_teacher import MODEL_ID
from serving import DEADLINE_S, Gate, Model, ask, generate, parrot, random_model, serving
from teacherlm.teacher.server.batcher import Batcher

QUESTION = "Why does iron rust?"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """A server that repeats what was said before `</s>`."""
    with serving(parrot()) as address:
        yield address


@pytest.fixture
def client(url: str) -> InferenceClient:
    return InferenceClient(model=url)


# What Hugging Face's client sees.


def test_the_hub_client_gets_text_details_and_streams(client: InferenceClient) -> None:
    text = client.text_generation(QUESTION, max_new_tokens=7)
    full = client.text_generation(QUESTION, max_new_tokens=7, details=True)
    assert full.generated_text == text
    assert full.details is not None
    assert full.details.finish_reason == "length"
    assert full.details.generated_tokens == len(full.details.tokens) == 7
    assert full.details.seed is None
    assert "".join(token.text for token in full.details.tokens) == text
    assert "".join(client.text_generation(QUESTION, max_new_tokens=7, stream=True)) == text
    events = list(client.text_generation(QUESTION, max_new_tokens=7, stream=True, details=True))
    assert [event.index for event in events] == list(range(1, 8))
    assert all(event.generated_text is None and event.details is None for event in events[:-1])
    assert events[-1].generated_text == text
    assert events[-1].details is not None
    assert events[-1].details.input_length == int(ask_headers(client)["x-prompt-tokens"])


def ask_headers(client: InferenceClient) -> dict[str, str]:
    assert client.model is not None
    return ask(client.model, "/generate", {"inputs": QUESTION, "parameters": {"max_new_tokens": 1}}).headers


def test_the_hub_client_raises_the_error_that_tgi_means(client: InferenceClient) -> None:
    with pytest.raises(ValidationError, match="`temperature` must be strictly positive"):
        client.text_generation("x", temperature=0.0)
    with pytest.raises(ValidationError, match="`top_p` must be"):
        list(client.text_generation("x", top_p=1.0, stream=True))


# Parameters.


def test_a_seed_repeats_in_any_company_and_is_reported(url: str) -> None:
    asked: dict[str, Any] = {"max_new_tokens": 16, "do_sample": True, "details": True}
    alone = generate(url, QUESTION, seed=2**64 - 1, **asked)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: generate(url, QUESTION, seed=2**64 - 1 if n == 5 else n, **asked), range(8)))
    assert answers[5]["generated_text"] == alone["generated_text"]
    assert alone["details"]["seed"] == 2**64 - 1
    assert len({answer["generated_text"] for answer in answers}) == 8
    unasked = generate(url, QUESTION, **asked)
    again = generate(url, QUESTION, seed=unasked["details"]["seed"], **asked)
    assert again["generated_text"] == unasked["generated_text"]


@pytest.mark.parametrize(
    ("parameters", "samples"),
    [
        ({}, False),
        ({"temperature": 1.0}, False),
        ({"temperature": 0.7}, True),
        ({"top_k": 5}, True),
        ({"top_p": 0.9}, True),
        ({"typical_p": 0.9}, True),
        ({"do_sample": True}, True),
    ],
)
def test_what_switches_sampling_on(url: str, parameters: dict[str, Any], samples: bool) -> None:
    answer = generate(url, "x", max_new_tokens=1, details=True, **parameters)
    assert (answer["details"]["seed"] is not None) is samples


def test_without_parameters_tgi_samples(url: str) -> None:
    texts = {ask(url, "/generate", {"inputs": "once"}).json()["generated_text"] for _ in range(8)}
    greedy = {ask(url, "/generate", {"inputs": "once", "parameters": {}}).json()["generated_text"] for _ in range(2)}
    assert len(texts) > 1
    assert len(greedy) == 1


def test_stop_text_is_kept_and_the_end_token_is_not(echo: str) -> None:
    stopped = generate(echo, "One. Two. Three.</s>", stop=["Two."], details=True)
    assert stopped["generated_text"] == "One. Two."
    assert stopped["details"]["finish_reason"] == "stop_sequence"
    ended = generate(echo, "One.</s>", details=True)
    assert ended["generated_text"] == "One."
    assert ended["details"]["finish_reason"] == "eos_token"
    last = ended["details"]["tokens"][-1]
    assert (last["text"], last["special"]) == ("</s>", True)
    assert ended["details"]["generated_tokens"] == len(ended["details"]["tokens"])


def test_characters_of_several_bytes_come_whole(echo: str) -> None:
    text = "naïve 日本語 🦜🏽 ж"
    answer = ask(echo, "/generate_stream", {"inputs": text + "</s>", "parameters": {}})
    assert answer.headers["content-type"].startswith("text/event-stream")
    pieces = [event["token"]["text"] for event in answer.events() if not event["token"]["special"]]
    assert "".join(pieces) == answer.events()[-1]["generated_text"] == text
    assert "" in pieces


def test_truncate_keeps_the_last_tokens(url: str) -> None:
    tokens = ask(url, "/tokenize", {"inputs": "some words before " + QUESTION}).json()
    tail = ask(url, "/tokenize", {"inputs": " " + QUESTION}).json()
    assert [token["id"] for token in tokens[-len(tail) :]] == [token["id"] for token in tail]
    short = generate(url, " " + QUESTION, max_new_tokens=8)
    body = {"inputs": "some words before " + QUESTION, "parameters": {"max_new_tokens": 8, "truncate": len(tail)}}
    answer = ask(url, "/generate", body)
    assert answer.json() == short
    assert answer.headers["x-prompt-tokens"] == str(len(tail))


def test_full_text_details_and_top_tokens(url: str) -> None:
    assert generate(url, "Iron", max_new_tokens=2, return_full_text=True)["generated_text"].startswith("Iron")
    assert "details" not in generate(url, "Iron", max_new_tokens=2)
    details = generate(url, "Iron rusts", max_new_tokens=3, decoder_input_details=True, top_n_tokens=2)["details"]
    assert "".join(token["text"] for token in details["prefill"]) == "Iron rusts"
    assert details["prefill"][0]["logprob"] is None
    assert all(len(top) == 2 and top[0]["logprob"] >= top[1]["logprob"] for top in details["top_tokens"])
    assert [top[0]["id"] for top in details["top_tokens"]] == [token["id"] for token in details["tokens"]]


def test_best_of_gives_the_likelier_answer_first(url: str) -> None:
    details = generate(url, "Iron", max_new_tokens=6, best_of=2, do_sample=True, details=True)["details"]

    def mean(sequence: Any) -> float:
        return float(sum(token["logprob"] for token in sequence["tokens"]) / sequence["generated_tokens"])

    (other,) = details["best_of_sequences"]
    assert mean(details) >= mean(other)
    assert details["seed"] != other["seed"]


def test_the_root_returns_a_list_and_the_full_text_for_hub_models(url: str) -> None:
    body = {"inputs": "Iron", "parameters": {"max_new_tokens": 2}}
    (plain,) = ask(url, "/", body).json()
    assert not plain["generated_text"].startswith("Iron")
    with serving(replace(random_model(), pipeline_tag="text-generation")) as hub:
        (full,) = ask(hub, "/", body).json()
        assert full["generated_text"] == "Iron" + plain["generated_text"]
        assert ask(hub, "/generate", body).json() == plain
    assert len(ask(url, "/", body | {"stream": True}).events()) == 2


def test_headers_tell_tokens_and_times(url: str) -> None:
    answer = ask(url, "/generate", {"inputs": "Iron rusts", "parameters": {"max_new_tokens": 3}})
    assert answer.headers["x-generated-tokens"] == "3"
    assert answer.headers["x-compute-characters"] == "10"
    assert answer.headers["x-compute-type"] == "cpu"
    for name in ("total", "validation", "queue", "inference"):
        assert answer.headers[f"x-{name}-time"].isdigit()
    assert answer.headers["x-time-per-token"].isdigit()
    assert float(answer.headers["x-compute-time"]) > 0


# Refusals.


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"repetition_penalty": 0}, "`repetition_penalty` must be strictly positive"),
        ({"frequency_penalty": 2.5}, "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        ({"top_k": 0}, "`top_k` must be strictly positive"),
        ({"top_k": -1}, "`top_k` must be strictly positive"),
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"typical_p": 0.0}, "`typical_p` must be > 0.0 and < 1.0"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ({"truncate": 0}, "`truncate` must be strictly positive and less than 2047. Given: 0"),
        ({"truncate": 2048}, "`truncate` must be strictly positive and less than 2047. Given: 2048"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "`stop` supports up to 4 stop sequences. Given: 5"),
        ({"top_n_tokens": 6}, "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
        ({"best_of": 3}, "`best_of` must be > 0 and <= 2. Given: 3"),
        ({"best_of": 2}, "you must use sampling when `best_of` is > 1"),
        ({"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set when `best_of` > 1"),
        ({"watermark": True}, "`watermark` is not supported"),
        ({"adapter_id": "x"}, "`adapter_id` is not supported: this server holds no adapters"),
        ({"grammar": {"type": "regex", "value": "a"}}, "grammar is not supported"),
    ],
)
def test_validation_has_tgis_words(url: str, parameters: dict[str, Any], message: str) -> None:
    body = {"inputs": "Hello", "parameters": parameters}
    answer = ask(url, "/generate", body)
    expected = {"error": f"Input validation error: {message}", "error_type": "validation"}
    assert (answer.status, answer.json()) == (422, expected)
    streamed = ask(url, "/generate_stream", body)
    assert streamed.status == 200
    assert streamed.events()[0]["error_type"] == "validation"


def test_lengths_are_checked_as_tgi_checks_them(url: str) -> None:
    def error(inputs: str, **parameters: Any) -> str:
        answer = ask(url, "/generate", {"inputs": inputs, "parameters": parameters})
        assert answer.status == 422
        return str(answer.json()["error"]).removeprefix("Input validation error: ")

    long = "1" * 2000
    tokens = len(ask(url, "/tokenize", {"inputs": long}).json())
    assert error("") == "`inputs` cannot be empty"
    assert error("1" * 2047 + "1") == "`inputs` must have less than 2047 tokens. Given: 2048"
    assert error(long, max_new_tokens=500) == (
        f"`inputs` tokens + `max_new_tokens` must be <= 2048. Given: {tokens} `inputs` tokens and 500 `max_new_tokens`"
    )


def test_more_tokens_than_fit_end_with_length(echo: str) -> None:
    """Only 1024 of `max_new_tokens` are held against the window."""
    answer = generate(echo, "1" * 1020 + "</s>", max_new_tokens=900_000, truncate=1021, details=True)
    assert answer["details"]["finish_reason"] == "eos_token"
    assert answer["generated_text"] == "1" * 1020


@pytest.mark.parametrize(
    ("raw", "status", "begins"),
    [
        (b"{", 400, "Failed to parse the request body as JSON"),
        (b"{}", 422, "Failed to deserialize the JSON body into the target type: missing field `inputs`"),
        (b"[]", 422, "Failed to deserialize the JSON body into the target type: body"),
        (b'{"inputs": 3}', 422, "Failed to deserialize the JSON body into the target type: inputs"),
        (b'{"inputs": "x", "parameters": {"seed": -1}}', 422, "Failed to deserialize"),
        (b'{"inputs": "x", "parameters": {"seed": 18446744073709551616}}', 422, "Failed to deserialize"),
        (b'{"inputs": "x", "parameters": {"max_new_tokens": "9"}}', 422, "Failed to deserialize"),
        (b'{"inputs": "x", "parameters": {"details": 1}}', 422, "Failed to deserialize"),
        (b'{"inputs": "' + b"x" * 2_000_000 + b'"}', 413, "length limit exceeded"),
    ],
)
def test_what_is_no_request_is_told_as_plain_text(url: str, raw: bytes, status: int, begins: str) -> None:
    answer = ask(url, "/generate", raw)
    assert answer.status == status
    assert answer.body.decode().startswith(begins)
    assert answer.headers["content-type"].startswith("text/plain")


def test_other_routes_methods_and_types(url: str) -> None:
    assert ask(url, "/generate", b"inputs=x", Content_Type="application/x-www-form-urlencoded").status == 415
    missing, wrong = ask(url, "/nowhere"), ask(url, "/generate", method="GET")
    assert (missing.status, missing.body, wrong.status, wrong.body) == (404, b"", 405, b"")
    unknown = ask(url, "/generate", {"inputs": "x", "shoe_size": 3, "parameters": {"max_new_tokens": 1, "hat": None}})
    assert unknown.status == 200


def test_a_full_server_refuses_at_once() -> None:
    gate = Gate()
    with serving(gate.loaded, max_concurrent_requests=1) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(generate, url, "x", max_new_tokens=2)
        assert gate.reached.wait(DEADLINE_S)
        answer = ask(url, "/generate", {"inputs": "y"})
        assert answer.status == 429
        assert answer.json() == {"error": "Model is overloaded", "error_type": "overloaded"}
        client = InferenceClient(model=url)
        with pytest.raises(OverloadedError, match="Model is overloaded"):
            client.text_generation("y")
        with pytest.raises(OverloadedError):
            list(client.text_generation("y", stream=True))
        assert 'tgi_request_failure{err="overloaded"} 3' in ask(url, "/metrics").body.decode()
        gate.open.set()
        assert first.result()["generated_text"]


@pytest.mark.parametrize("path", ["/generate", "/generate_stream", "/v1/completions", "/v1/chat/completions"])
def test_who_hangs_up_frees_the_slot_and_leaves_the_batch(path: str) -> None:
    gate = Gate()
    body = {
        "/v1/completions": b'{"prompt": "x", "max_tokens": 2000, "temperature": 0}',
        "/v1/chat/completions": b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 2000, "stream": true}',
    }.get(path, b'{"inputs": "x", "parameters": {"max_new_tokens": 2000}}')
    with serving(gate.loaded, max_concurrent_requests=1) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as line:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            )
            line.sendall(f"{head}\r\n".encode() + body)
            assert gate.reached.wait(DEADLINE_S)
        # The model stands still, so only the hang-up can free the slot.
        deadline = time.monotonic() + DEADLINE_S
        while (answer := ask(url, "/generate", {"inputs": "", "parameters": {}})).status == 429:
            assert time.monotonic() < deadline
        assert answer.status == 422
        gate.open.set()
        generate(url, "y", max_new_tokens=1)
        assert gate.steps < 10


def test_a_failing_model_is_told_and_the_server_lives_on() -> None:
    broken = iter([True, False])

    def forward(**inputs: Any) -> Any:
        if next(broken, False):
            raise RuntimeError("CUDA out of memory")
        return random_model().model(**inputs)

    with serving(replace(random_model(), model=Model(forward))) as url:
        answer = ask(url, "/generate", {"inputs": "x", "parameters": {"max_new_tokens": 2}})
        assert answer.status == 424
        expected = "Request failed during generation: CUDA out of memory"
        assert answer.json() == {"error": expected, "error_type": "generation"}
        assert ask(url, "/health").status == 200
        assert generate(url, "x", max_new_tokens=2)["generated_text"]
        broken = iter([True])
        client = InferenceClient(model=url)
        with pytest.raises(GenerationError, match="out of memory"):
            list(client.text_generation("x", stream=True))


def test_a_dead_model_thread_is_told_by_health_and_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(self: Batcher, joining: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(Batcher, "_join", fault)
    with serving() as url:
        for reason in ("a fault of ours", "the model's thread has ended"):
            answer = ask(url, "/generate", {"inputs": "x"})
            assert (answer.status, answer.json()["error_type"]) == (424, "generation")
            if reason == "the model's thread has ended":
                assert reason in answer.json()["error"]
        health = ask(url, "/health")
        assert (health.status, health.json()) == (503, {"error": "unhealthy", "error_type": "healthcheck"})


def test_a_key_is_needed_where_tgi_needs_one() -> None:
    with serving(api_key="secret") as url:
        body = {"inputs": "x", "parameters": {"max_new_tokens": 1}}
        for path in ("/", "/generate", "/generate_stream", "/tokenize", "/v1/completions", "/v1/chat/completions"):
            for refused in (ask(url, path, body), ask(url, path, body, Authorization="Bearer wrong")):
                assert (refused.status, refused.body) == (401, b"")
        assert ask(url, "/generate", body, Authorization="Bearer secret").status == 200
        assert InferenceClient(model=url, token="secret").text_generation("x", max_new_tokens=1)
        for path in ("/info", "/health", "/metrics", "/v1/models"):
            assert ask(url, path).status == 200
        assert ask(url, "/chat_tokenize", {"messages": [{"role": "user", "content": "x"}]}).status == 200


# Looking at the server.


def test_tokenize_gives_offsets_in_characters(url: str) -> None:
    text = "naïve 🦜 iron rusts"
    tokens = ask(url, "/tokenize", {"inputs": text}).json()
    assert all(token["text"] == text[token["start"] : token["stop"]] for token in tokens)
    assert tokens[-1]["stop"] == len(text)
    assert len(tokens) == int(
        ask(url, "/generate", {"inputs": text, "parameters": {"max_new_tokens": 1}}).headers["x-prompt-tokens"]
    )


def test_info_health_and_metrics(url: str) -> None:
    info = ask(url, "/info").json()
    assert info["model_id"] == MODEL_ID
    assert info["model_sha"] == random_model().model_sha
    assert (info["max_total_tokens"], info["max_input_tokens"], info["max_concurrent_requests"]) == (2048, 2047, 128)
    for path in ("/health", "/ping", "/"):
        answer = ask(url, path)
        assert (answer.status, answer.body) == (200, b"")

    def count(name: str) -> float:
        lines = ask(url, "/metrics").body.decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    before, tokens = count("tgi_request_success"), count("tgi_request_generated_tokens_sum")
    generate(url, "x", max_new_tokens=3)
    assert count("tgi_request_success") == before + 1
    assert count("tgi_request_generated_tokens_sum") == tokens + 3
    assert count("tgi_request_count") > before
    assert count("tgi_queue_size") == count("tgi_batch_current_size") == 0
