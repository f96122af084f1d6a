"""Chat models behind Inspect's providers."""

import pytest
from inspect_ai.model import ModelOutput, ModelUsage, get_model

from groundshift.errors import InputError
from groundshift.models.chats import ask, is_provider


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
