"""Which words do the attention heads pair, and do more heads pair instruction verbs after tuning? (section 4)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from groundshift.errors import InputError
from groundshift.report import Lines, Report, Section, p_text, value_text
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.models.activations import ProbeModel

__all__ = ["AttentionPairs", "attention_pairs", "head_pairs", "thresholds"]

Z = 1.96
FREQUENT = 3000
"""Words, the most frequent ones, against which a cosine counts as large."""
INSTRUCTION_VERBS = tuple(
    """
    add analyze answer arrange calculate check choose classify combine compare compose compute continue convert correct
    count create describe design edit explain extend extract fill find generate give identify list make name outline
    paraphrase predict produce propose rank rewrite select shorten show sort suggest summarise summarize tell translate
    write
    """.split()  # noqa: SIM905
)
"""Verbs with which people ask for something; any other list can be given."""
PAIR = ["model", "layer", "head", "word", "other", "neurons", "cosine"]
Array = NDArray[np.floating[Any]]


def thresholds(vectors: Array, frequent: int = FREQUENT) -> NDArray[np.float64]:
    """From which cosine on two words belong together: of each word mean + 1.96 sd of those with the frequent words.

    Parameters
    ----------
    vectors : (V, d), of unit length, the most frequent word first

    Examples
    --------
    >>> [round(float(t), 2) for t in thresholds(np.eye(4))]
    [1.1, 1.1, 1.1, 1.1]
    """
    cosines = vectors @ vectors[:frequent].T
    limit: NDArray[np.float64] = cosines.mean(1) + Z * cosines.std(1)
    return limit


def head_pairs(queries: Array, keys: Array, vectors: Array, limits: Array, top: int = 100) -> pd.DataFrame:
    """The word pairs of one attention head that more than one of its neurons makes.

    Neuron r pairs the words with the largest queries and keys in column r, if they activate it alike (a positive
    product) and come with the same words (a cosine above both limits).

    Parameters
    ----------
    queries, keys : (V, d)
    vectors, limits : (V, n) of unit length, and (V,); see `thresholds`
    top : words by query, and by key, of each neuron

    Returns
    -------
    frame
        ``word`` and ``other`` (numbers, the smaller first), ``neurons`` that pair them, ``cosine``; the largest cosine
        first.
    """
    most = min(top, len(queries))
    at_q, at_k = (
        np.argpartition(-np.abs(x), most - 1, axis=0)[:most].T for x in (queries, keys)
    )  # (neurons, top)
    cosine = np.einsum("rkn,rqn->rkq", vectors[at_k], vectors[at_q], optimize=True)
    k, q = np.take_along_axis(keys.T, at_k, 1), np.take_along_axis(queries.T, at_q, 1)
    alike = k[:, :, None] * q[:, None, :] > 0
    kept = alike & (cosine > limits[at_q][:, None, :]) & (cosine > limits[at_k][:, :, None])
    r, i, j = np.nonzero(kept & (at_k[:, :, None] != at_q[:, None, :]))
    words = np.sort(np.stack([at_k[r, i], at_q[r, j]]), axis=0)
    each = np.unique(np.stack([r, *words]), axis=1)[1:]  # a pair counts once for each neuron
    pairs, count = np.unique(each, axis=1, return_counts=True)
    (word, other), count = pairs[:, count > 1], count[count > 1]
    table = pd.DataFrame({"word": word, "other": other, "neurons": count})
    table["cosine"] = (vectors[word] * vectors[other]).sum(1)
    return table.sort_values(["cosine", "neurons"], ascending=False, kind="stable", ignore_index=True)


@dataclass(repr=False)
class AttentionPairs(Result):
    """Word pairs of attention heads before and after tuning.

    Attributes
    ----------
    pairs : ``model`` ("base" or "tuned"), ``layer``, ``head``, ``word``, ``other``, ``neurons``, ``cosine``
    words : of each word and group of layers: in how many heads its pairs ``rose`` in number, and ``changed``; ``share``
        of the first in the second; whether it is an instruction ``verb``
    groups : by group of layers the mean share of instruction verbs and of other words, and Welch's test
    settings, notes : of the call
    """

    pairs: pd.DataFrame
    words: pd.DataFrame
    groups: pd.DataFrame
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A row for each pair of a head."""
        return self.pairs

    def _content(self) -> dict[str, Any]:
        return dict(vars(self))

    def report(self) -> Report:
        row = self.groups.iloc[0]
        headline = (
            f"Of the heads whose pairs with an instruction verb changed, a share of {value_text(row['verbs'])} has "
            f"more of them after tuning; of other words {value_text(row['others'])} (p {p_text(row['p'])})."
        )
        counts = self.pairs.groupby("model").size()
        verbs = self.words[self.words["verb"] & (self.words["layers"] == "all")]
        firsts = self.pairs[self.pairs["model"] == "tuned"].groupby(["layer", "head"]).head(8)
        firsts = firsts.assign(pairs=firsts["word"] + " " + firsts["other"])
        heads = firsts.groupby(["layer", "head"])["pairs"].agg(list).reset_index()
        cells: list[Any] = [Lines("", code=tuple(own)) for own in heads["pairs"]]
        heads = heads.assign(pairs=cells)
        return Report(
            "ifshift", f"{self.settings['base']} and {self.settings['tuned']}", headline, warnings=self.notes,
            figure=("Share of heads with more pairs after tuning, among those that changed", self._draw),
            sections=(
                Section(
                    "groups", "Which layers?", "Means over words, and Welch's two-sided test.",
                    tables={"": self.groups}, facts={f"pairs, {m}": int(n) for m, n in counts.items()},
                ),
                Section("verbs", "Which verbs?", tables={"": verbs.drop(columns=["verb", "layers"]).head(40)}),
                Section("heads", "What do the heads pair after tuning?", tables={"": heads.head(60)}),
                Section(
                    "how", "How it was measured", folded=True, notes=(
                        "Queries and keys of static word embeddings, behind the gain of the block's norm; positions "
                        "(rotary or other) are left out.",
                        "A head's pairs are those that more than one of its neurons makes between words that come with "
                        "the same words in the corpus.",
                    ),
                ),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        x = np.arange(len(self.groups))
        for shift, name, shade in ((-0.2, "verbs", "#2f7fa8"), (0.2, "others", "#9a9a9a")):
            ax.bar(x + shift, self.groups[name].fillna(0), 0.38, color=shade, label=name)
        ax.axhline(0.5, color="#333333", lw=0.6)
        ax.set_xticks(x, self.groups["layers"].tolist())
        ax.set_xlabel("layers")
        ax.set_ylabel("share of heads that rose")
        ax.legend(frameon=False)


def attention_pairs(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    corpus: Any,
    *,
    vectors: str | Path | None = None,
    verbs: Sequence[str] | None = None,
    words: int = 3000,
    top: int = 100,
    window: int = 5,
    group: int = 8,
    random_state: int = 0,
    device: str = "auto",
    allow_missing: bool = False,
) -> AttentionPairs:
    """Compare the word pairs of every attention head before and after tuning.

    Parameters
    ----------
    base : directory or id of the model before tuning
    tuned : the model after tuning, or an adapter on the base
    corpus : texts whose words are paired: a .txt file with a text in each line, or rows with ``text``, ``prompt`` or
        ``messages``
    vectors : file of word vectors, such as GloVe's; by default they are made from the corpus
    verbs : instruction verbs; by default a list of 50
    words : most frequent words of the corpus that are used
    top : words by query, and by key, of each neuron
    window : words within which two come together, for vectors made from the corpus
    group : layers that are put together in the comparison
    random_state : random seed
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Tokenizers that differ, a corpus without words, an attention whose queries and keys are not known, packed
        weights.

    References
    ----------
    arXiv:2310.00492, section 4.

    Examples
    --------
    >>> attention_pairs("base/", "tuned/", "prompts.jsonl").groups  # doctest: +SKIP
    """
    from groundshift.models.activations.pairs import before_and_after
    from groundshift.models.activations.weights import queries_and_keys
    from groundshift.models.words import embedded, read_corpus, word_vectors

    if min(top, group, window) < 1:
        raise InputError(
            f"top={top}, group={group}, window={window} were given; at least 1 is needed of each."
        )
    vocabulary = read_corpus(corpus, words)
    context = word_vectors(vocabulary, vectors, window=window, seed=random_state)
    named, limits = np.array(vocabulary.words), thresholds(context)
    tables, names, heads, notes = [], {}, {}, []
    for name, model in before_and_after(base, tuned, device=device, allow_missing=allow_missing):
        names[name] = model.source
        embeddings = embedded(model, vocabulary.forms)
        known = np.flatnonzero(~np.isnan(embeddings[:, 0]))
        if len(known) < len(named):
            notes.append(f"{len(named) - len(known)} of {len(named)} words are unknown to {model.source}.")
        for layer, q, k in queries_and_keys(model, embeddings[known]):
            heads[layer] = q.shape[1]
            for head in range(q.shape[1]):
                table = head_pairs(q[:, head], k[:, head], context[known], limits[known], top)
                table["word"], table["other"] = known[table["word"]], known[table["other"]]
                tables.append(table.assign(model=name, layer=layer, head=head))
        if missing := [k for k in range(len(model.layers)) if k not in heads]:
            notes.append(
                f"Blocks {missing} of {model.source} have no queries and keys that are known: left out."
            )
    pairs = pd.concat(tables, ignore_index=True)[PAIR]
    instructing = sorted({verb.lower() for verb in verbs or INSTRUCTION_VERBS} & set(vocabulary.words))
    table = _risen(pairs, heads, len(named), group)
    table.insert(0, "word", named[table.pop("number")])
    table["verb"] = table["word"].isin(instructing)
    if not table["verb"].any():
        notes.append("No pairs with an instruction verb changed; give the verbs of your prompts (verbs=).")
    pairs["word"], pairs["other"] = named[pairs["word"]], named[pairs["other"]]
    settings = {
        **names, "words": len(named), "vectors": str(vectors or "of the corpus"), "top": top, "window": window,
        "group": group, "verbs": instructing,
    }  # fmt: skip
    return AttentionPairs(pairs, table, _by_group(table), settings, tuple(dict.fromkeys(notes)))


def _risen(pairs: pd.DataFrame, heads: dict[int, int], V: int, group: int) -> pd.DataFrame:
    """Of each word and group of layers, heads whose number of pairs with it rose, and changed."""
    of_head = np.repeat(list(heads), list(heads.values()))  # the layer of each head
    first = {layer: int(np.argmax(of_head == layer)) for layer in heads}
    counts = {name: np.zeros((len(of_head), V), int) for name in ("base", "tuned")}
    for name, part in pairs.groupby("model"):
        at = part["layer"].map(first).to_numpy(int) + part["head"].to_numpy(int)
        for side in ("word", "other"):
            np.add.at(counts[str(name)], (at, part[side].to_numpy(int)), 1)
    rose, changed = counts["tuned"] > counts["base"], counts["tuned"] != counts["base"]
    tables = []
    for name, own in layer_groups(of_head, group).items():
        number = np.flatnonzero(changed[own].any(0))
        ups, moves = (some[own][:, number].sum(0) for some in (rose, changed))
        columns = {"number": number, "layers": name, "rose": ups, "changed": moves, "share": ups / moves}
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def layer_groups(layers: NDArray[np.int64], group: int) -> dict[str, NDArray[np.bool_]]:
    """Which entries are of each group of layers: all of them, and where there is more than one group each.

    Examples
    --------
    >>> {name: own.tolist() for name, own in layer_groups(np.array([0, 1, 2]), 2).items()}
    {'all': [True, True, True], '0 to 1': [True, True, False], '2 to 2': [False, False, True]}
    """
    deepest = int(layers.max())
    groups = {"all": np.ones(len(layers), bool)}
    for low in range(0, deepest + 1, group) if deepest >= group else ():
        high = min(low + group - 1, deepest)
        groups[f"{low} to {high}"] = (layers >= low) & (layers <= high)
    return groups


def _by_group(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name in table["layers"].unique() if len(table) else ["all"]:
        part = table[table["layers"] == name]
        one, other = (part.loc[part["verb"] == kind, "share"].to_numpy(float) for kind in (True, False))
        means = [float(x.mean()) if len(x) else np.nan for x in (one, other)]
        low = high = p = np.nan
        if min(len(one), len(other)) > 1 and np.ptp(np.r_[one, other]) > 0:
            test = stats.ttest_ind(one, other, equal_var=False)
            (low, high), p = test.confidence_interval(0.95), test.pvalue
        rows.append((name, len(one), len(other), *means, means[0] - means[1], low, high, p))
    columns = ["layers", "n verbs", "n others", "verbs", "others", "difference", "low", "high", "p"]
    return pd.DataFrame(rows, columns=columns)
