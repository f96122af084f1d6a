"""Every benchmark as a task of Inspect: a bad endpoint, a run that was cut off and recorded answers give one table.

A new benchmark stands here as soon as it stands in ``groundshift.inspect_tasks``; its `SMALL` options keep it short.
"""

import hashlib
import inspect
import itertools
import json

import pytest
from inspect_ai import Task, eval, eval_retry
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, modelapi

from groundshift import inspect_tasks
from groundshift.models.answers import recorded, records
from tests.contracts.examples import pictures

PICTURES = pictures()
SMALL = {
    "condambigqa": {"n": 6},
    "dataalchemy": {"n": 12},
    "dist": {"images": f"{PICTURES.name}/photo", "strength": 2, "check": False, "size": 24},
    "hibench": {"per_task": 1, "scenarios": "multi_tree,json"},
    "vlmshift": {"data": PICTURES.name, "per_cell": 2},
}
REPLIES = (
    '{"answer": "yes"}',
    '{"answer": 3}',
    "I do not know.",
    "Answer Choice: disc",
    "The second picture.",
    '[{"answer": "three years", "citations": [1]}]',
)
CALLS = itertools.count()
COLUMNS = ["id", "answer", "correct", "parsed"]


OTHERS = {"parse_then_score", "recorded"}


@modelapi(name="moody")
class Moody(ModelAPI):
    """Replies by the prompt and its pictures alone, and fails at every second call if asked to."""

    def __init__(self, model_name, base_url=None, api_key=None, config=None, fails=False, **_):
        super().__init__(model_name, base_url, None, [], config or GenerateConfig())
        self.fails = fails

    async def generate(self, input, tools, tool_choice, config):
        if next(CALLS) % 2 and self.fails:
            raise RuntimeError("the endpoint is down")
        digest = hashlib.blake2b("".join(str(message.content) for message in input).encode(), digest_size=2)
        return ModelOutput.from_content("moody", REPLIES[int(digest.hexdigest(), 16) % len(REPLIES)])


@pytest.mark.parametrize("name", sorted(set(inspect_tasks.__all__) - OTHERS))
def test_a_bad_endpoint_a_stop_and_recorded_answers_change_nothing(name, tmp_path):
    make = getattr(inspect_tasks, name)
    assert set(SMALL[name]) <= set(inspect.signature(make).parameters)
    task = make(**SMALL[name])
    assert isinstance(task, Task)
    settings = {"log_dir": str(tmp_path / "logs"), "display": "none", "max_samples": 1}

    def table(log):
        return records(log)[COLUMNS].sort_values("id", ignore_index=True)

    steady = eval(task, model="moody/a", **settings)[0]
    assert steady.status == "success"
    assert records(steady)["error"].isna().all()
    expected = table(steady)
    assert expected["id"].is_unique
    assert expected["parsed"].nunique() == 2 or name == "dataalchemy"

    shaky = eval(task, model="moody/a", model_args={"fails": True}, retry_on_error=20, **settings)[0]
    assert table(shaky).equals(expected)

    cut = eval(task, model="moody/a", model_args={"fails": True}, fail_on_error=False, **settings)[0]
    missing = int(records(cut)["error"].notna().sum())
    assert 0 < missing < len(expected)
    cut.eval.model_args["fails"] = False
    before = next(CALLS)
    whole = eval_retry(cut, log_dir=str(tmp_path / "logs"), display="none")[0]
    assert next(CALLS) - before - 1 == missing
    assert table(whole).equals(expected)

    file = tmp_path / "answers.jsonl"
    rows = ({"id": row["id"], "answer": row["answer"]} for _, row in expected.iterrows())
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    again = eval(task, solver=recorded(str(file)), model="none", **settings)[0]
    assert table(again).equals(expected)
