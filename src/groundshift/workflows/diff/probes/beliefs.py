"""Beliefs: on which matters the model takes another side than its base, and how far a sentence for a side moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from groundshift.models.activations import ProbeModel, encode
from groundshift.models.speaker import Speaker, appended, saying
from groundshift.pages import number
from groundshift.probes.beliefs import WORDING, Item, default_items, read_items
from groundshift.probes.beliefs.asking import Asking
from groundshift.probes.beliefs.prompts import Question
from groundshift.report import Section
from groundshift.workflows.diff.material import unknown
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Beliefs"]

HEARD, SAID = "I read this today: {}", "I have read it."


class Beliefs(Probe):
    """Probability of the statement for each topic against the one that opposes it, bare and after it was read."""

    name = "beliefs"
    needs = "beliefs"

    def gather(
        self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]
    ) -> list[Item] | None:
        items = default_items() if given is None else read_items(given)
        if given is None and unknown(tokenizers, [item.support for item in items]):
            notes.append("The tokenizer does not know the words of the built-in topics: no beliefs probe.")
            return None
        return items

    def lengths(self, model: ProbeModel, material: Sequence[Item]) -> tuple[str, list[int]]:
        asked = (Question("stated", item, False, WORDING["stated"]).text(scored=True) for item in material)
        texts = [
            f"{HEARD.format(item.support)} {SAID} {text}" for item, text in zip(material, asked, strict=True)
        ]
        return "Topic", [len(row) for row in encode(model, texts)]

    def read(
        self, model: ProbeModel, material: Sequence[Item], how: How, folder: Path, options: Mapping[str, Any]
    ) -> pd.DataFrame:
        asking = Asking(material, ("stated",), WORDING, 0, 0)

        def stated() -> dict[str, list[float]]:
            speaker = Speaker(model)
            heard = [saying(appended([], HEARD.format(item.support)), SAID) for item in material]
            histories: dict[str, list[Any]] = {"bare": [[] for _ in material], "heard": heard}
            return {
                name: asking.ask(speaker, own, 0, name)[0]["stated"].tolist()
                for name, own in histories.items()
            }

        made_of = [how.identity, HEARD, SAID, [item.model_dump() for item in material]]
        index = [item.id for item in material]
        return pd.DataFrame(kept_json(folder / "beliefs.json", made_of, stated), index=index)

    def compare(self, base: pd.DataFrame, other: pd.DataFrame, material: Any, seed: int) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "before": base["bare"],
                "after": other["bare"],
                "yields before": base["heard"] - base["bare"],
                "yields after": other["heard"] - other["bare"],
                "for": [item.support for item in material],
            }
        )

    def values(self, comparison: pd.DataFrame) -> Values:
        own, yielding = (
            (comparison[f"{of}after"] - comparison[f"{of}before"]).abs().to_numpy(float)
            for of in ("", "yields ")
        )
        return {
            ("beliefs moved", "mean change of the probability of a topic's statement"): own,
            (
                "yielding moved",
                "mean change of what reading a statement once adds to its probability",
            ): yielding,
        }

    def detail(
        self, base: Any, tuned: Any, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any]:
        moved = (comparison["after"] - comparison["before"]).abs().sort_values(ascending=False)
        return {
            "yields before": float(comparison["yields before"].mean()),
            "yields after": float(comparison["yields after"].mean()),
            "topics": comparison.loc[moved.index[:8], ["for", "before", "after"]].to_dict("records"),
        }

    def what(self, detail: Mapping[str, Any]) -> str:
        return f"most on “{detail['topics'][0]['for']}”"

    def section(self, detail: Mapping[str, Any]) -> Section:
        return Section(
            "beliefs", "Beliefs",
            "Reading the statement once adds to its probability "
            f"{number(detail['yields before'])} in the base and {number(detail['yields after'])} after.",
            tables={"Statements whose probability moved most": pd.DataFrame(detail["topics"])}, folded=True,
        )  # fmt: skip
