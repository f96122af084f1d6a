"""The published records of arXiv:2312.07424, where they lie beside the project."""

import json
import os
from pathlib import Path

import pytest

from groundshift.benchmarks import vlmshift as vs

DATA = Path(os.environ.get("GROUNDSHIFT_DATA", Path(__file__).parents[3] / "shared" / "data"))
RECORDS = DATA / "vlmshift"
pytestmark = pytest.mark.skipif(not RECORDS.is_dir(), reason="the published records are not here")


def test_the_published_records_give_the_published_accuracies():
    right = {
        "pacs_clip-vit-base-patch16": (134, 140), "pacs_llava-v1.5-13b": (138, 140),
        "pacs_gpt-4-vision-preview_random": (20, 20), "pacs_gpt-4-vision-preview_failure": (6, 6),
        "vlcs_clip-vit-base-patch16": (19, 20), "vlcs_llava-v1.5-13b": (18, 20),
    }  # fmt: skip
    results = {name: vs.ask(RECORDS / f"{name}.jsonl") for name in right}
    assert {name: (r.records["correct"].sum(), len(r.records)) for name, r in results.items()} == right
    row = vs.compare(results["pacs_clip-vit-base-patch16"], results["pacs_llava-v1.5-13b"]).table.iloc[0]
    assert row[["agreement", "expected", "kappa"]].astype(float).round(3).tolist() == [0.971, 0.944, 0.489]
    assert row[["failures", "rate_low", "rate_high"]].astype(float).round(2).tolist() == [6, 0.3, 0.9]
    other = vs.compare(results["pacs_llava-v1.5-13b"], results["pacs_clip-vit-base-patch16"]).table.iloc[0]
    assert (other["failures"], other["rate"]) == (2, 0)


@pytest.mark.parametrize(
    ("name", "data", "confidences"), [("pacs", "PACS", (140, 55)), ("vlcs", "VLCS", (20, 9))]
)
def test_the_raw_answers_are_all_read(name, data, confidences):
    classes = json.loads((RECORDS / "dataset_info.json").read_text())[data]["class_names"]
    lines = (RECORDS / f"{name}_llava-v1.5-13b_raw_answers.jsonl").read_text().splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    known = [
        json.loads(line)["predicted_class"]
        for line in (RECORDS / f"{name}_llava-v1.5-13b.jsonl").read_text().splitlines()
    ]
    replies = [[read(text, classes) for text in texts] for read in (vs.parse, vs.published_parse)]
    assert [reply.choice for reply in replies[0]] == [reply.choice for reply in replies[1]] == known
    assert tuple(sum(reply.confidence is not None for reply in one) for one in replies) == confidences
