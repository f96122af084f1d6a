"""Chat models behind Inspect's providers."""

import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from groundshift.errors import InputError
from groundshift.models.chats import Tool, ask, ask_with_tools, is_provider


def loud(messages, *_):
    output = ModelOutput.from_content("loud", messages[-1].text.upper())
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def test_every_chat_gets_its_own_answer():
    model = get_model("mockllm/model", custom_outputs=loud)
    chats = [
        [{"role": "system", "content": "Shout."}, {"role": "user", "content": f"hi {k}"}] for k in range(5)
    ]
    assert ask(model, chats, max_new_tokens=8, cache=False) == [f"HI {k}" for k in range(5)]


@pytest.mark.parametrize(
    ("model", "role", "message"),
    [
        ("openai/gpt", "user", "inspect:provider/model"),
        ("inspect:nosuch/model", "user", "nosuch"),
        ("inspect:mockllm/model", "robot", "'robot'"),
    ],
)
def test_what_is_no_model_or_no_message_is_refused(model, role, message):
    with pytest.raises(InputError, match=message):
        ask(model, [[{"role": role, "content": "hi"}]], max_new_tokens=8)


def test_a_directory_is_no_provider():
    assert [is_provider(m) for m in ("inspect:vllm/x", "models/x", 3)] == [True, False, False]


def used(output):
    output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    return output


def test_tools_are_called_until_one_ends_the_chat():
    """Each chat has tools of its own; an error is told to the model, and a turn without a call is the last."""
    taken = {0: [], 1: []}

    def tools(k):
        def look() -> str:
            return f"red, blue {k}"

        def take(colour: str) -> str:
            if colour not in ("red", "blue"):
                raise ValueError("No such colour.")
            taken[k].append(colour)
            return "Done."

        return [Tool(look, "See what there is."), Tool(take, "Take one.", {"colour": "Which."}, ends=True)]

    def model(messages, own, *_):
        assert [tool.name for tool in own] == ["look", "take"]
        steps = {1: ("look", {}), 3: ("take", {"colour": "green"}), 5: ("take", {"colour": "red"})}
        if messages[0].text == "talk":
            return used(ModelOutput.from_content("m", "I would rather not."))
        return used(ModelOutput.for_tool_call("m", *steps[len(messages)]))

    mock = get_model("mockllm/model", custom_outputs=model)
    chats = [[{"role": "user", "content": text}] for text in ("act", "talk")]
    acted, talked = ask_with_tools(mock, chats, [tools(0), tools(1)], max_new_tokens=9, cache=False)
    assert taken == {0: ["red"], 1: []}
    assert [m["content"] for m in acted if m["role"] == "tool"] == ["red, blue 0", "No such colour.", "Done."]
    assert [m["content"] for m in talked] == ["I would rather not."]
    short = ask_with_tools(mock, chats[:1], [tools(0)], max_new_tokens=9, steps=2, cache=False)
    assert len(short[0]) == 4


def test_answers_are_kept_where_one_request_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path))
    asked = []

    def model(messages, *_):
        asked.append(messages[-1].text)
        if messages[-1].text == "hi 2" and len(asked) <= 5:
            raise RuntimeError("broken line")
        return loud(messages)

    chats = [[{"role": "user", "content": f"hi {k}"}] for k in range(5)]
    mock = get_model("mockllm/model", custom_outputs=model)
    with pytest.raises(InputError, match="broken line"):
        ask(mock, chats, max_new_tokens=8)
    assert ask(mock, chats, max_new_tokens=8) == [f"HI {k}" for k in range(5)]
    assert len(asked) == 6
