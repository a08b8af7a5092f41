"""OpenAI's routes through OpenAI's own client."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from random_teacher import MODEL_ID
from serving import ask, parrot, random_model, serving

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def echo() -> Iterator[openai.OpenAI]:
    """A client of a server that repeats what was said before `</s>`."""
    with serving(parrot()) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="-", max_retries=0) as client:
        yield client


def test_completions(client: openai.OpenAI, url: str) -> None:
    answer = client.completions.create(model="tgi", prompt="Iron", max_tokens=5, temperature=0)
    greedy = ask(url, "/generate", {"inputs": "Iron", "parameters": {"max_new_tokens": 5}}).json()
    assert answer.object == "text_completion"
    assert answer.choices[0].text == greedy["generated_text"]
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.usage.total_tokens) == (5, answer.usage.prompt_tokens + 5)


def test_several_prompts_are_told_apart_by_index(echo: openai.OpenAI) -> None:
    words = ["a long answer comes late", "short", "🦜"]
    answer = echo.completions.create(model="tgi", prompt=[f"{word}</s>" for word in words], temperature=0)
    assert [choice.text for choice in sorted(answer.choices, key=lambda choice: choice.index)] == words
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    pieces = ["", "", ""]
    for chunk in echo.completions.create(
        model="tgi", prompt=[f"{word}</s>" for word in words], temperature=0, stream=True
    ):
        pieces[chunk.choices[0].index] += chunk.choices[0].text
    assert pieces == words


def test_sampling_is_the_default_and_seeds_repeat(client: openai.OpenAI) -> None:
    def text(**more: int) -> str:
        return client.completions.create(model="tgi", prompt="Iron", max_tokens=12, **more).choices[0].text  # type: ignore[call-overload,no-any-return]

    assert len({text() for _ in range(8)}) > 1
    assert text(seed=3) == text(seed=3)


def test_stop_text_is_kept(echo: openai.OpenAI) -> None:
    answer = echo.completions.create(model="tgi", prompt="One. Two.</s>", stop="One.", temperature=0)
    assert answer.choices[0].text == "One."
    assert str(answer.choices[0].finish_reason) == "stop_sequence"


def test_chat_streams_what_it_answers(client: openai.OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "system", "content": "You explain."},
        {"role": "user", "content": "Why does iron rust?"},
    ]
    answer = client.chat.completions.create(model="tgi", messages=messages, max_tokens=9, temperature=0)
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    chunks = list(
        client.chat.completions.create(
            model="tgi",
            messages=messages,
            max_tokens=9,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == (
        answer.choices[0].message.content
    )
    assert chunks[-2].choices[0].finish_reason == answer.choices[0].finish_reason
    assert chunks[-1].usage == answer.usage


def test_chat_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tgi",
        messages=[{"role": "user", "content": "x"}],
        max_tokens=2,
        temperature=0,
        logprobs=True,
        top_logprobs=2,
    )
    assert answer.choices[0].logprobs is not None
    content = answer.choices[0].logprobs.content
    assert content is not None
    assert [entry.logprob for entry in content] == [entry.top_logprobs[0].logprob for entry in content]


def test_a_conversation_is_rendered_by_the_template_or_plainly(url: str) -> None:
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}]}
    plain = ask(url, "/chat_tokenize", body).json()
    assert plain["templated_text"] == "User: Why?\n\nAssistant:"
    assert "".join(token["text"] for token in plain["tokenize_response"]) == plain["templated_text"]
    tokenizer = copy.copy(random_model().tokenizer)
    tokenizer.chat_template = TEMPLATE
    with serving(replace(random_model(), tokenizer=tokenizer)) as templated:
        assert ask(templated, "/chat_tokenize", body).json()["templated_text"] == "<user>Why?<assistant>"
        refused = ask(templated, "/v1/chat/completions", {"messages": [{"role": "tool", "content": "x"}]})
        assert (refused.status, refused.json()["error_type"]) == (422, "template_error")
        assert "no tools here" in refused.json()["error"]


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL_ID]


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("completions", {"prompt": ["x"] * 5}, "batch size exceeded"),
        ("completions", {"prompt": "x", "suffix": "y"}, "suffix not supported"),
        ("completions", {"prompt": "x", "n": 2}, "validation"),
        ("completions", {"prompt": "x", "top_p": 1.0}, "validation"),
        ("completions", {"prompt": []}, "validation"),
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, "tool_error"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_object"}},
            "validation",
        ),
        ("chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "template_error"),
    ],
)
def test_refusals(url: str, path: str, body: dict[str, object], kind: str) -> None:
    answer = ask(url, f"/v1/{path}", body)
    assert (answer.status, answer.json()["error_type"]) == (422, kind)
    streamed = ask(url, f"/v1/{path}", body | {"stream": True})
    assert streamed.status == 200
    assert streamed.events() == [{"error": {"message": answer.json()["error"], "http_status_code": 422}}]
    assert streamed.body.endswith(b"data: [DONE]\n\n")


def test_the_client_raises_on_refusals(client: openai.OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.completions.create(model="tgi", prompt="x", top_p=1.0)
    assert caught.value.response.json()["error"] == "Input validation error: `top_p` must be > 0.0 and < 1.0"
