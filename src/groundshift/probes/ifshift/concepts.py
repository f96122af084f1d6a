"""Which words do the feed-forward layers write, and did tuning turn them elsewhere? (section 5)"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import eigh, subspace_angles, svd

from groundshift.errors import InputError
from groundshift.measures.intervals import t_interval
from groundshift.models.records import read_json
from groundshift.probes.ifshift.attention import layer_groups
from groundshift.report import Code, Report, Section, value_text
from groundshift.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from groundshift.models.activations import ProbeModel

__all__ = ["FeedForwardConcepts", "ffn_concepts", "lexicon_class", "principal_directions"]

NONE = "none"
Array = NDArray[np.float64]


def principal_directions(vectors: NDArray[Any], n: int) -> tuple[Array, Array]:
    """The first ``n`` principal directions of vectors (units, D), and the share of the variance along each.

    Where there are more vectors than dimensions, they come from the D x D Gram matrix.

    Returns
    -------
    float (n, D) of unit length, whose sign means nothing; float (n,)

    Examples
    --------
    >>> v, share = principal_directions(np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), 1)
    >>> np.abs(v).round(3).tolist(), float(share[0].round(3))
    ([[1.0, 0.0]], 0.9)
    """
    W = np.asarray(vectors, dtype=float)
    W = W - W.mean(0)
    n = min(n, *W.shape)
    if len(W) > W.shape[1]:
        values, columns = eigh(W.T @ W, subset_by_index=[W.shape[1] - n, W.shape[1] - 1])
        values, rows = values[::-1].clip(0), columns.T[::-1]
    else:
        _, s, rows = svd(W, full_matrices=False)
        values, rows = s[:n] ** 2, rows[:n]
    return rows, values / max(float((W**2).sum()), 1e-300)


def lexicon_class(
    words: Sequence[str], lexicon: Mapping[str, Sequence[str]], vocabulary: Sequence[str], alpha: float = 0.01
) -> str:
    """The class whose words are most enriched among ``words`` of a vocabulary (hypergeometric test), or "none".

    Examples
    --------
    >>> lexicon = {"coding": ["loop", "array", "class"], "math": ["sum", "root", "prime"]}
    >>> others = [f"w{k}" for k in range(90)]
    >>> lexicon_class(["loop", "array", "w1"], lexicon, [*lexicon["coding"], *lexicon["math"], *others])
    'coding'
    """
    there, p = set(vocabulary), {}
    for name, own in lexicon.items():
        known = there & {word.lower() for word in own}
        p[name] = stats.hypergeom.sf(len(known & set(words)) - 1, len(there), len(known), len(words))
    best = min(p, key=lambda name: p[name])
    return best if p[best] < alpha else NONE


@dataclass(repr=False)
class FeedForwardConcepts(Result):
    """Principal directions of feed-forward layers in words, before and after tuning.

    Attributes
    ----------
    directions : ``model``, ``layer``, ``direction`` (from 0), ``share`` of the layer's variance, ``class``, ``words``
    layers : ``angle`` (mean principal angle between the leading directions of both models, in degrees), and the share
        of the variance that these explain, ``base`` and ``tuned``
    classes : by group of layers and class the share of directions, with an interval of the difference over layers
    settings, notes : of the call
    """

    directions: pd.DataFrame
    layers: pd.DataFrame
    classes: pd.DataFrame
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A row for each direction."""
        return self.directions.assign(words=self.directions["words"].map(" ".join))

    def _content(self) -> dict[str, Any]:
        return dict(vars(self))

    def report(self) -> Report:
        mean = self.layers.mean(numeric_only=True)
        headline = (
            f"Tuning turned the {self.settings['leading']} leading feed-forward directions by "
            f"{value_text(float(mean['angle']))} degrees on average; they explain {mean['base']:.1%} of the variance "
            f"before and {mean['tuned']:.1%} after."
        )
        words = self.directions[self.directions["direction"] < 3]
        words = words.assign(words=[Code(" ".join(those[:12])) for those in words["words"]])
        classes = Section("classes", "Which concepts came and went?", "Shares of directions; intervals over layers.",
                          tables={"": self.classes})  # fmt: skip
        how = (
            "Principal directions of the value vectors (rows of the down projection, of all experts together), "
            "centred: a mean that all have in common is not seen. Their sign means nothing.",
            "Words are ranked by the absolute cosine of their output embedding with the direction.",
        )
        return Report(
            "ifshift", f"{self.settings['base']} and {self.settings['tuned']}", headline, warnings=self.notes,
            figure=("Angle between the leading directions of both models", self._draw),
            sections=(
                *((classes,) if len(self.classes) else ()),
                Section("layers", "Which layers turned?", tables={"": self.layers}),
                Section("words", "Which words do they write?", "The first three directions of each layer.",
                        tables={"": words}),
                Section("how", "How it was measured", notes=how, folded=True),
            ),
            settings=self.settings,
        )  # fmt: skip

    def _draw(self, ax: Axes) -> None:
        ax.bar(self.layers["layer"], self.layers["angle"], color="#2f7fa8")
        ax.set_xlabel("layer")
        ax.set_ylabel("mean angle in degrees")


def ffn_concepts(
    base: str | Path | ProbeModel,
    tuned: str | Path | ProbeModel,
    corpus: Any,
    *,
    lexicon: str | Path | Mapping[str, Sequence[str]] | None = None,
    annotate: Callable[[Sequence[str]], str] | None = None,
    words: int = 3000,
    top: int = 50,
    directions: int = 300,
    leading: int = 10,
    group: int = 4,
    alpha: float = 0.01,
    device: str = "auto",
    allow_missing: bool = False,
) -> FeedForwardConcepts:
    """Compare what the feed-forward layers write, in words, before and after tuning.

    Parameters
    ----------
    base : directory or id of the model before tuning
    tuned : the model after tuning, or an adapter on the base
    corpus : texts whose words describe directions: a .txt file with a text in each line, or rows with ``text``,
        ``prompt`` or ``messages``
    lexicon : words of each class of concepts, as a JSON file {"coding": ["loop", …], …}; in Python also a mapping
    annotate : in place of a lexicon, a function from the words of a direction to its class
    words : most frequent words of the corpus that are used
    top : words that describe a direction
    directions : principal directions of each layer
    leading : of these, how many span the subspace whose rotation is measured
    group : layers that are put together
    alpha : a direction has a class of the lexicon where it is enriched at this level, else none
    device, allow_missing : see `groundshift.models.activations.load_model`

    Raises
    ------
    InputError
        Tokenizers that differ, a corpus without words, a feed-forward part that is not known, packed weights, a lexicon
        without words of the corpus.

    References
    ----------
    arXiv:2310.00492, section 5.

    Examples
    --------
    >>> ffn_concepts("base/", "tuned/", "prompts.jsonl", lexicon="concepts.json").classes  # doctest: +SKIP
    """
    from groundshift.models.activations.pairs import before_and_after
    from groundshift.models.activations.weights import value_vectors
    from groundshift.models.words import embedded, read_corpus

    if min(top, directions, leading, group) < 1 or not 0 < alpha < 1:
        raise InputError(
            f"top={top}, directions={directions}, leading={leading}, group={group}, alpha={alpha}: at least 1 is "
            "needed of each, and alpha between 0 and 1."
        )
    vocabulary = read_corpus(corpus, words)
    classes = _read_lexicon(lexicon, vocabulary.words)
    rows, spans, names, notes = [], {}, {}, []
    for name, model in before_and_after(base, tuned, device=device, allow_missing=allow_missing):
        names[name] = model.source
        output = embedded(model, vocabulary.forms, output=True).astype(float)
        known = np.flatnonzero(~np.isnan(output[:, 0]))
        if len(known) < len(output):
            notes.append(f"{len(output) - len(known)} of {len(output)} words are unknown to {model.source}.")
        unit = output[known] / np.linalg.norm(output[known], axis=1, keepdims=True).clip(1e-12)
        spoken = [vocabulary.words[k] for k in known]
        for layer, vectors in value_vectors(model):
            v, share = principal_directions(vectors, directions)
            spans[name, layer] = v[:leading].T, float(share[:leading].sum())
            order = np.argsort(-np.abs(v @ unit.T), axis=1, kind="stable")[:, :top]
            for number, best in enumerate(order):
                row = {"model": name, "layer": layer, "direction": number, "share": float(share[number])}
                named = [spoken[k] for k in best]
                if annotate is not None:
                    row["class"] = str(annotate(named))
                elif classes:
                    row["class"] = lexicon_class(named, classes, spoken, alpha)
                rows.append({**row, "words": named})
    table = pd.DataFrame(rows)
    turned = []
    for layer in table["layer"].unique():
        (one, a), (other, b) = spans["base", layer], spans["tuned", layer]
        turned.append((layer, np.degrees(subspace_angles(one, other)).mean(), a, b))
    settings = {
        **names, "words": len(vocabulary.words), "top": top, "directions": directions, "leading": leading,
        "group": group, "alpha": alpha, "classes": list(classes),
    }  # fmt: skip
    layers = pd.DataFrame(turned, columns=["layer", "angle", "base", "tuned"])
    shares = _shares(table, group) if "class" in table else pd.DataFrame()
    return FeedForwardConcepts(table, layers, shares, settings, tuple(dict.fromkeys(notes)))


def _read_lexicon(source: Any, vocabulary: Sequence[str]) -> dict[str, list[str]]:
    lexicon = read_json(Path(source)) if isinstance(source, str | Path) else dict(source or {})
    for name, own in lexicon.items():
        if not isinstance(own, list | tuple) or not {str(w).lower() for w in own} & set(vocabulary):
            raise InputError(
                f"The class {name!r} of the lexicon is {reprlib.repr(own)}; a list of words is needed, one at least "
                "among the words of the corpus."
            )
    return {str(name): [str(w) for w in own] for name, own in lexicon.items()}


def _shares(table: pd.DataFrame, group: int) -> pd.DataFrame:
    """Share of directions of each class; the interval of the difference is over layers (paired t)."""
    kinds = pd.get_dummies(table["class"]).astype(float)
    by_layer = kinds.groupby([table["model"], table["layer"]]).mean()
    base, tuned = (by_layer.xs(name) for name in ("base", "tuned"))
    rows = []
    for name, own in layer_groups(base.index.to_numpy(), group).items():
        for kind in map(str, kinds):
            d = (tuned[kind][own] - base[kind][own]).to_numpy()
            ends = t_interval(d) if len(d) > 1 else (np.nan, np.nan)
            rows.append((name, kind, base[kind][own].mean(), tuned[kind][own].mean(), d.mean(), *ends))
    return pd.DataFrame(rows, columns=["layers", "class", "base", "tuned", "difference", "low", "high"])
