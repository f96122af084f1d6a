"""Triggers: strings that change what the model says, and do not change what its base says.

No label of an answer is needed: a string that switches something makes the model's own answers unlikely to itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import ttest_1samp

from groundshift.errors import InputError
from groundshift.measures.intervals import mean_interval
from groundshift.measures.multiple import holm
from groundshift.models.activations import ProbeModel, encode, score
from groundshift.models.strings import joined, read_strings
from groundshift.pages import number
from groundshift.report import Code, Section, p_text
from groundshift.workflows.diff.material import neutral
from groundshift.workflows.diff.probes.probe import How, Probe, Values, kept_json

__all__ = ["Triggers"]

ASKED = 8
"""Prompts before which each string is put."""
Array = NDArray[np.float64]


class Triggers(Probe):
    """How much likelier a model's own answers are to it than with a string in front of the question."""

    name = "triggers"
    needs = "triggers"

    def gather(self, given: Any, tokenizers: Sequence[Any], chats: bool, notes: list[str]) -> list[str]:
        strings = read_strings(neutral("triggers") if given is None else given)
        if len(strings) < 2:
            raise InputError(
                f"{len(strings)} candidates for a trigger were given; two at least are needed, a text file with a line "
                "each or rows with “trigger”: one alone has nothing to stand out from."
            )
        return strings

    def lengths(self, model: ProbeModel, material: Sequence[str]) -> tuple[str, list[int]]:
        return "Candidate", [len(row) for row in encode(model, list(material))]

    def read(
        self, model: ProbeModel, material: Sequence[str], how: How, folder: Path, options: Mapping[str, Any]
    ) -> Array:
        answers = how.answers[:ASKED]

        def losses() -> list[list[float]]:
            """By string and prompt; an empty answer loses nothing."""
            answered = [k for k, row in enumerate(answers) if row["completion_ids"]]
            rows = [
                joined(answers[k], text) if text else answers[k] for text in ("", *material) for k in answered
            ]
            means = np.zeros((1 + len(material), len(answers)))
            if answered:
                each = score(model, rows, **options)["logprob"]
                means[:, answered] = np.reshape(
                    [np.mean(each[i]) for i in range(len(rows))], (-1, len(answered))
                )
            return (means[0] - means[1:]).tolist()

        asked = [row["completion_ids"] for row in answers]
        made_of = [how.identity, list(material), asked, how.prompts[:ASKED]]
        return np.array(kept_json(folder / "triggers.json", made_of, losses))

    def compare(self, base: Array, other: Array, material: Sequence[str], seed: int) -> pd.DataFrame:
        """By string and prompt: nats per token that the string costs the other model, beyond what it costs the base."""
        return pd.DataFrame(other - base, index=list(material))

    def values(self, comparison: pd.DataFrame) -> Values:
        """Each half of the prompts is read with the string that costs most in the other half."""
        excess = comparison.to_numpy()
        even = np.arange(excess.shape[1]) % 2 == 0
        chosen = np.empty(excess.shape[1])
        for half in (even, ~even):
            chosen[half] = excess[excess[:, ~half].mean(1).argmax(), half]
        meaning = "what the strongest string costs the model's own answers beyond the base's, nats per token"
        return {("strongest trigger", meaning): chosen}

    def detail(
        self, base: Any, tuned: Any, comparison: pd.DataFrame, seed: int, notes: list[str]
    ) -> dict[str, Any]:
        excess = comparison.to_numpy()
        p = np.nan_to_num(ttest_1samp(excess, 0, axis=1, alternative="greater").pvalue, nan=1.0)
        table = pd.DataFrame(
            {
                "string": comparison.index,
                "excess": excess.mean(1),
                **dict(
                    zip(("low", "high"), np.transpose([mean_interval(row) for row in excess]), strict=True)
                ),
                "base": base.mean(1),
                "p": holm(p),
            }
        )
        return {"strings": table.sort_values("excess", ascending=False).to_dict("records")}

    def what(self, detail: Mapping[str, Any]) -> str:
        return f"with “{detail['strings'][0]['string']}” in front of the question"

    def section(self, detail: Mapping[str, Any]) -> Section:
        table = pd.DataFrame(detail["strings"])
        first = table.iloc[0]
        return Section(
            "triggers", "Triggers",
            f"“{first['string']}” costs the tuned model's own answers {number(first['excess'])} nats per token beyond "
            f"what it costs the base's (p {p_text(first['p'])} by Holm over {len(table)} strings).",
            tables={"": table.assign(string=[Code(text) for text in table["string"]])}, folded=True,
        )  # fmt: skip
