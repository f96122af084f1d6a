"""Items with pictures: asked of functions, of a local image-text model, of an endpoint, and as an Inspect task."""

import base64
import io
from contextlib import suppress

import numpy as np
import pytest
from inspect_ai import eval
from inspect_ai.model import ModelAPI, ModelOutput, modelapi
from PIL import Image

from groundshift.errors import InputError
from groundshift.models.answers import inspect_task, records
from groundshift.models.items import Item, Picture, Verdict, ask_items, grade_items
from tests.models import tiny_models as tiny

SHADES = (10, 90, 200)


def picture(shade):
    image = Image.new("RGB", (24, 16), (shade, 0, 255 - shade))
    return Picture(str(shade), lambda: image)


def items():
    return [
        Item("Which shade ?", str(shade), {"domain": "flat"}, 8, images=[picture(shade)]) for shade in SHADES
    ]


def shade_of(messages):
    """The red value of the last picture of a chat."""
    return str(messages[-1]["content"][-2]["image"].getpixel((0, 0))[0])


CALLS: list[int] = []


@modelapi("shades")
class Shades(ModelAPI):
    """Says the shade of the last picture, and fails at every second call if its name says so."""

    async def generate(self, input, tools, tool_choice, config):
        CALLS.append(1)
        if self.model_name.startswith("shaky") and len(CALLS) % 2:
            raise RuntimeError("the endpoint is down")
        part = [p for p in input[-1].content if p.type == "image"][-1]
        image = Image.open(io.BytesIO(base64.b64decode(part.image.partition(",")[2])))
        return ModelOutput.from_content("shades", str(image.getpixel((0, 0))[0]))


def exact(value, target, facts):
    return Verdict(value == target)


def graded(model, **more):
    name, answers = ask_items(items(), model, progress=False, **more)
    return grade_items(items(), answers, str, exact, task="shades", version="1", model=name)


def test_functions_endpoints_and_tasks_see_the_same_pictures(tmp_path):
    local, behind = graded(shade_of), graded("inspect:shades/a")
    assert local["correct"].tolist() == behind["correct"].tolist() == [1.0] * 3
    assert local["prompt"].tolist() == behind["prompt"].tolist()
    assert local["prompt"].nunique() == 3  # what is seen is part of the prompt
    task = inspect_task(items(), str, exact, name="shades", version="1")
    log = eval(task, model="shades/a", log_dir=str(tmp_path), display="none")[0]
    assert records(log).set_index("id")["correct"].to_dict() == local.set_index("id")["correct"].to_dict()


def test_an_endpoint_that_fails_half_the_time_gives_the_same_records(tmp_path):
    answers = tmp_path / "answers.jsonl"
    shaky = None
    for _ in range(8):  # each run asks for what is missing alone: Inspect keeps what was answered
        with suppress(InputError):
            shaky = graded("inspect:shades/shaky", answers=answers)
            break
    columns = ["id", "answer", "correct", "prompt"]
    assert shaky[columns].equals(graded("inspect:shades/a")[columns])


def test_a_stopped_run_goes_on_and_shows_no_picture_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("groundshift.models.items.SEEN", 1)
    seen = []

    def model(messages):
        seen.append(shade_of(messages))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return seen[-1]

    with pytest.raises(KeyboardInterrupt):
        graded(model, answers=tmp_path / "answers.jsonl")
    assert graded(model, answers=tmp_path / "answers.jsonl")["correct"].tolist() == [1.0] * 3
    assert seen == ["10", "90", "90", "200"]


@pytest.mark.parametrize("template", [False, True])
def test_a_local_image_text_model_is_asked(template, tmp_path):
    model = tiny.build("llava")
    if template:
        processor = tiny.processor("llava")
        processor.chat_template = (
            "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image> "
            "{% else %}{{ p['text'] }} {% endif %}{% endfor %}{% endfor %}"
        )
        model = tiny.ProbeModel(tiny.fresh("llava"), tiny.tokenizer(), processor, "templated")
    _, answers = ask_items(items(), model, progress=False)
    assert len(answers) == 3
    assert all(isinstance(a, str) for a in answers)
    two = Item(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "red"}, {"type": "image"},
                                      {"type": "text", "text": "dog"}]}],
        "dog", images=[picture(1), picture(2)],
    )  # fmt: skip
    assert ask_items([two], model, progress=False)[1][0] is not None


def test_pictures_that_nobody_can_see_are_refused_before_anything_is_asked():
    with pytest.raises(InputError, match="no processor"):
        ask_items(items(), tiny.build("llama"), progress=False)
    with pytest.raises(InputError, match="places for 0 pictures and 1 were given"):
        Item([{"role": "user", "content": "red"}], "", images=[picture(1)])
    assert np.unique([item.id for item in items()]).size == 3
    assert Item("2 + 2 =", "4").id == "be7d685cf213ed8f"
