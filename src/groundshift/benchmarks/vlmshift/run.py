"""Ask a model that sees about images of several domains, changed or with examples; and what its answers say."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundshift.benchmarks.vlmshift import scoring
from groundshift.benchmarks.vlmshift.data import VIEWS, Choices, Layout, exemplar_items, load, zero_shot_items
from groundshift.benchmarks.vlmshift.models import Classifier, Likelihoods, answer_text, is_classifier
from groundshift.benchmarks.vlmshift.parsing import VERSION, check_classes, grade, parser_of, question
from groundshift.errors import InputError
from groundshift.graded import Graded, draw_shares, shown, write_records
from groundshift.measures.answers import paired_within
from groundshift.measures.errors import stated_confidence
from groundshift.models.items import Item, ask_items, grade_items
from groundshift.models.records import read_lines
from groundshift.report import Sample, Section
from groundshift.shifts.pictures import check_shift

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VisionShift", "ask"]

STEPS = {"examples": ("zero-shot", "in-context"), "permuted labels": ("zero-shot", "permuted labels")}
SHOWN = 12
"""Errors on the page."""
TWIN = "A model is never right on its own failures: compare (groundshift vlmshift compare) says what its twin is there."
SURE = {"missing": "answers without one", "ece": "expected calibration error (10 bins of equal mass)",
        "auroc": "area under the curve, for being right"}  # fmt: skip


@dataclass(frozen=True, repr=False)
class VisionShift(Graded):
    """Answers of one model about images: `Graded`, whose records are those without examples on unchanged images.

    "parsed_value" is the class that was read, "confidence" what the model states, "reason" its reasoning.

    Attributes
    ----------
    other : the same columns for changed images ("shift", "severity") and with examples ("protocol")
    source : domains that the others are compared with
    gallery : image → picture, of errors that the page is to show
    """

    other: pd.DataFrame = field(default_factory=pd.DataFrame)
    source: tuple[str, ...] = ()
    gallery: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)

    def domains(self) -> pd.DataFrame:
        """Accuracy of each domain with its drop, see `groundshift.benchmarks.vlmshift.by_domain`."""
        return scoring.by_domain(self.records, self.source)

    def severity(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Accuracy by severity, see `groundshift.benchmarks.vlmshift.severity`."""
        changed = self.other[self.other["protocol"] == "zero-shot"] if len(self.other) else self.other
        return scoring.severity(pd.concat([self.records, changed]))

    def gains(self, by: str | None = None) -> pd.DataFrame:
        """What examples add on the same images, beside what they add with permuted labels.

        Parameters
        ----------
        by : a column such as "domain", for a table of each of its values
        """
        if not len(self.other) or not (self.other["protocol"] != "zero-shot").any():
            return pd.DataFrame()
        rows = pd.concat([self.records, self.other[self.other["protocol"] != "zero-shot"]])
        rows = rows[rows["image"].isin(rows[rows["protocol"] != "zero-shot"]["image"])]
        parts = [("all", rows)] if by is None else list(rows.groupby(by))
        tables = [
            paired_within(part, "protocol", STEPS, "image").assign(**{by or "domain": k}) for k, part in parts
        ]
        return pd.concat(tables, ignore_index=True)

    def confusion(self, domain: str | None = None) -> pd.DataFrame:
        """How often each class (row) was read as each other one (column), in one domain or in all."""
        rows = self.records if domain is None else self.records[self.records["domain"] == domain]
        given = rows["parsed_value"].fillna("unparsed").rename("answer")
        return pd.crosstab(rows["target"].rename("class"), given)

    def _headline(self) -> str:
        table = self.domains().dropna(subset=["mean"])
        if not len(table):
            return super()._headline()
        low, macro = table.sort_values("mean", kind="stable").iloc[0], table["mean"].mean()
        spread = f" ({low['low']:.0%} to {low['high']:.0%})"
        return (f"{self.model} is right on {macro:.0%} of images in the mean over {len(table)} domains, and on "
                f"{low['mean']:.0%}{spread} in {low['domain']}, the worst.")  # fmt: skip

    def _warnings(self) -> tuple[str, ...]:
        return (*super()._warnings(), *self.settings["notes"])

    def confidence(self) -> dict[str, float]:
        """What the stated confidence is worth, see `groundshift.measures.errors.stated_confidence`."""
        scored = self.records[self.records["correct"].notna()]
        stated = scored["confidence"] if "confidence" in scored else np.full(len(scored), np.nan)
        return stated_confidence(scored["correct"], stated)

    def _sections(self) -> Sequence[Section]:
        sections, gains, (curves, curve) = [], self.gains(), self.severity()
        if self.source:
            table = self.domains().drop(columns=["errors", "groups", "chance", "majority", "unparsed"])
            sections.append(
                Section("drop", f"How much lower than in {', '.join(self.source)}?", tables={"": table})
            )
        if len(curve):
            note = "Halfway is the severity at which half of what lies between unchanged images and chance is lost."
            tables = {"Curves": curve, "Points": shown(curves)}
            figures = {"Share that is right by severity": self._draw_curves}
            sections.append(
                Section("severity", "How does it fall?", notes=(note,), tables=tables, figures=figures)
            )
        if len(gains):
            both = pd.concat([gains, self.gains("domain")]).drop(columns=["left_out", "p"])
            note = "Where permuted labels add as much, it is not the labels that help."
            sections.append(Section("examples", "What do examples add?", notes=(note,), tables={"": both}))
        facts = {SURE[name]: value for name, value in self.confidence().items() if not np.isnan(value)}
        tables = {name: self.confusion(name).reset_index() for name in self.records["domain"].unique()[:8]}
        return [
            *sections,
            Section("confidence", "What is the stated confidence worth?", facts=facts),
            Section("confusion", "Which classes are taken for which?", tables=tables, folded=True),
        ]

    def _examples(self, n: int = SHOWN) -> list[Section]:
        wrong = self.records[self.records["correct"] == 0].head(n)
        samples = [
            Sample(row["image"], tuple(self.gallery[name] for name in self.gallery if name == row["image"]),
                   f"right: {row['target']}\nanswer: {row['answer']}")
            for _, row in wrong.iterrows()
        ]  # fmt: skip
        return (
            [Section("wrong", "What was wrong?", notes=(TWIN,), samples=samples, folded=True)]
            if samples
            else []
        )

    def _draw(self, ax: Axes) -> None:
        draw_shares(self.domains(), "domain", ax)

    def _draw_curves(self, ax: Axes) -> None:
        """Accuracy by severity, each change from 0 to its largest severity."""
        for name, part in self.severity()[0].groupby("shift", sort=False):
            x = part["severity"] / part["severity"].max()
            ax.errorbar(x, part["mean"], np.nan_to_num([part["mean"] - part["low"], part["high"] - part["mean"]]),
                        marker="o", capsize=3, label=f"{name} (to {part['severity'].max():g})")  # fmt: skip
        ax.axhline(self.records["chance"].mean(), color="#7a8791", lw=1, ls="--")
        ax.set(xlabel="severity, as a share of the largest", ylabel="share that is right", ylim=(-0.02, 1.02))
        ax.legend(fontsize=8)

    def _content(self) -> dict[str, Any]:
        curves, curve = self.severity()
        own = {"domains": self.domains(), "curves": curves, "curve": curve, "gains": self.gains(),
               "gains_by_domain": self.gains("domain"), "confidence": self.confidence()}  # fmt: skip
        return {**super()._content(), **own}

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        if len(self.other):
            (more := folder / "conditions").mkdir()
            write_records(self.other, more)


def ask(
    model: Any, data: Any = None, *, layout: Layout = "domain/class", image: str = "image", label: str = "class",
    domain: str = "domain", per_cell: int = 20, classes: Sequence[str] = (), domains: Sequence[str] = (),
    source: Sequence[str] = (), noise: Sequence[float] = (), styles: Sequence[str] = (),
    severities: Sequence[int] = (1, 3, 5), view: Literal["none", "flip", "crop"] = "none", in_context: int = 0,
    pool: Literal["source", "target"] = "target", choices: Choices = "all", templates: Sequence[str] = ("{}",),
    answer: Literal["text", "logprob"] = "text", max_new_tokens: int = 500,
    parser: Literal["strict", "published"] = "strict", embed_images: bool = False,
    answers: str | Path | None = None, seed: int = 0, device: str = "auto", allow_missing: bool = False,
    progress: bool = True,
) -> VisionShift:  # fmt: skip
    """Ask a model what is in images of several domains: as they are, under noise and styles, and with examples.

    Parameters
    ----------
    model : directory or id of a CLIP or SigLIP model, or of one that looks and talks; "inspect:provider/model"; JSONL
        of recorded answers, as ``answers`` wrote it or in the published format ("image", "domain", "true_class",
        "predicted_class"), which needs no images. In Python also a function of messages
    data : folder of images, or a table that names files; see `load`
    layout : of the folder: domain/class or class
    image, label, domain : columns of the table
    per_cell : images of each domain and class
    classes : all that are offered, in order; by default those of the data
    domains : that are asked about; all if left out
    source : domains that the model is taken to know; the others are compared with them
    noise : variances of Gaussian noise, on pixels from 0 to 1
    styles : of edge, posterise, invert, halftone, blur, jpeg
    severities : of the styles, 1 to 5
    view : what is seen: the image, mirrored or cropped. A run with another view is a twin for `compare`
    in_context : labelled images of each class in front of each query; asked again with permuted labels
    pool : where these come from: source domains, or the query's own
    choices : "domain" offers an image only the classes of its domain
    templates : of the texts of CLIP; "{}" is the bare name, as published. Of several the mean counts
    answer : "logprob" lets a local talking model choose by the log-probability of the names
    max_new_tokens : of an answer
    parser : "published" reads answers as the paper's repository does
    embed_images : show the pictures of errors on the page
    answers : JSONL file to which answers of talking models are added; a run that was stopped goes on from it

    Raises
    ------
    InputError
        What `load`, `ask_items` and the loaders of models raise; an unknown style, examples for a model that takes no
        text beside images or one image only, a recorded answer that is missing.

    Examples
    --------
    >>> result = ask("inspect:openai/gpt-5", "images/", noise=[0.01, 0.04], in_context=1)  # doctest: +SKIP
    """
    changes = [("noise", value) for value in noise] + [
        (s, float(level)) for s in styles for level in severities
    ]
    for change in changes:
        check_shift(*change)
    if view not in VIEWS or in_context < 0:
        raise InputError(
            f"view={view!r}, in_context={in_context} was given; one of {', '.join(VIEWS)}, and 0 or more."
        )
    if data is None:
        return _published(model, parser, source)
    images = load(data, layout, image=image, label=label, domain=domain, per_cell=per_cell, seed=seed,
                  classes=classes, domains=domains)  # fmt: skip
    items = zero_shot_items(images, changes, view=view, choices=choices)
    if in_context:
        items += exemplar_items(images, in_context, pool, source, seed=seed, choices=choices)
    items = [replace(item, max_new_tokens=max_new_tokens) for item in items]
    name, texts = _answered(
        model, items, images.offered(choices), templates, answer, {"device": device, "allow_missing": allow_missing},
        {"answers": answers, "seed": seed, "progress": progress},
    )  # fmt: skip
    settings = {
        "data": images.digest, "images": len(images.table), "classes": len(images.classes), "per_cell": per_cell,
        "seed": seed, "view": view, "choices": choices, "templates": list(templates), "answer": answer, "pool": pool,
        "notes": list(images.notes), "prompt": items[0].prompt,
    }  # fmt: skip
    result = _result(items, texts, images.classes, parser, name, settings, source)
    if not embed_images:
        return result
    wrong = result.records[result.records["correct"] == 0]["image"].head(SHOWN)
    return replace(result, gallery={one: _small(images.picture(one).read()) for one in wrong})


def _answered(
    model: Any, items: list[Item], offered: Mapping[str, tuple[str, ...]], templates: Sequence[str], answer: str,
    loading: dict[str, Any], asking: dict[str, Any],
) -> tuple[str, list[str | None]]:  # fmt: skip
    """The model's name and its answer to each item; a question that two protocols share is asked once."""
    if rows := _published_rows(model):
        known = {row["image"]: row for row in rows}
        if missing := [i.facts["image"] for i in items if i.facts["image"] not in known]:
            raise InputError(f"{model} has no answer about {len(missing)} images: {', '.join(missing[:3])}.")
        return str(model), [_written(known[item.facts["image"]]) for item in items]
    if is_classifier(model):
        if any(item.facts["protocol"] != "zero-shot" for item in items):
            raise InputError(f"{model} takes no text beside an image; ask a model that talks for in_context.")
        classes = list(dict.fromkeys(name for names in offered.values() for name in names))
        classifier = Classifier(model, classes, templates, **loading)
        return classifier.name, list(classifier.answers(items, offered, asking["progress"]))
    if answer == "logprob":
        model = Likelihoods(model, {question(names): names for names in offered.values()}, **loading)
    once = list({item.id: item for item in items}.values())
    name, texts = ask_items(once, model, **asking, **loading)
    by_id = dict(zip([item.id for item in once], texts, strict=True))
    return name, [by_id[item.id] for item in items]


def _result(
    items: list[Item], texts: Sequence[str | None], classes: Sequence[str], parser: str, name: str,
    settings: dict[str, Any], source: Sequence[str],
) -> VisionShift:  # fmt: skip
    read, version = parser_of(classes, parser), f"{VERSION} {parser}"
    records = grade_items(items, texts, read, grade, task="vlmshift", version=version, model=name)
    plain = (records["shift"] == "none") & (records["protocol"] == "zero-shot")
    first, other = records[plain].reset_index(drop=True), records[~plain].reset_index(drop=True)
    result = VisionShift(first, "vlmshift", ("domain", "class"), settings, other, tuple(source))
    result.domains()  # refuses an unknown source
    return result


def _small(picture: Any) -> NDArray[np.uint8]:
    picture.thumbnail((224, 224))
    return np.asarray(picture)


# Recorded answers in the published format ----------------------------------------------------------------------


def _published_rows(model: Any) -> list[dict[str, Any]]:
    """The lines of a file in the published format; none of anything else."""
    if not isinstance(model, str | os.PathLike) or not str(model).endswith((".jsonl", ".jsonl.gz")):
        return []
    rows = [row for _, row in read_lines(Path(model))] if Path(model).is_file() else []
    return rows if all(isinstance(r, dict) and {"image", "predicted_class"} <= set(r) for r in rows) else []


def _written(row: dict[str, Any]) -> str:
    """What a line of the published format says, as an answer; only its reasoning where it could not be parsed."""
    reasoning = row.get("reasoning") or ""
    if row["predicted_class"] is None:
        return str(reasoning)
    return answer_text(row["predicted_class"], row.get("confidence_score"), reasoning)


def _published(file: Any, parser: str, source: Sequence[str]) -> VisionShift:
    """Recorded answers that say themselves what is right."""
    rows = _published_rows(file)
    if not rows or not all(row.get("true_class") and row.get("domain") for row in rows):
        raise InputError(
            f"{file} was given without images; give a folder of images (--data), or JSONL whose lines have image, "
            "domain, true_class and predicted_class."
        )
    named = [row[key] for key in ("true_class", "predicted_class") for row in rows if row[key]]
    classes = list(dict.fromkeys(named))
    notes, items = check_classes(classes)[:3], {}
    for row in rows:
        facts = {"image": row["image"], "domain": row["domain"], "class": row["true_class"], "shift": "none",
                 "severity": 0.0, "protocol": "zero-shot", "chance": 1 / len(classes)}  # fmt: skip
        item = Item(str(row["image"]), row["true_class"], facts)
        if item.id in items:
            raise InputError(f"{file} has two answers about {row['image']}; give each once.")
        items[item.id] = item
    texts = [_written(row) for row in rows]
    settings = {"recorded": str(file), "images": len(rows), "notes": notes}
    return _result(list(items.values()), texts, classes, parser, str(file), settings, source)
