"""Ask a model that sees about images of several domains, changed or with examples; and what its answers say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from groundshift.benchmarks.vlmshift import scoring
from groundshift.benchmarks.vlmshift.data import Images, Offers, exemplar_items, load, zero_shot_items
from groundshift.benchmarks.vlmshift.models import Classifier, Likelihoods, answer_text, is_classifier
from groundshift.benchmarks.vlmshift.parsing import VERSION, check_classes, grade, parser_of
from groundshift.benchmarks.vlmshift.perturbing import VIEWS, check_shift
from groundshift.errors import InputError
from groundshift.graded import Graded, shown, write_records
from groundshift.measures.answers import paired_within
from groundshift.models.items import Item, ask_items, grade_items
from groundshift.models.records import read_lines
from groundshift.report import Report, Sample, Section

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["VisionShift", "ask"]

STEPS = {"examples": ("zero-shot", "in-context"), "permuted labels": ("zero-shot", "permuted labels")}
TWIN = "A model is never right on its own failures: groundshift vlmshift compare adds what a twin of it gets right there."


@dataclass(frozen=True, repr=False)
class VisionShift(Graded):
    """Answers of one model about images: `Graded`, whose records are those without examples on unchanged images.

    "parsed_value" is the class that was read, "confidence" what the model states, "reason" its reasoning.

    Attributes
    ----------
    other : the same columns for changed images ("shift", "severity") and with examples ("protocol")
    source : domains that the others are compared with
    gallery : pictures of the errors for the page, where they are to be shown
    """

    other: pd.DataFrame = field(default_factory=pd.DataFrame)
    source: tuple[str, ...] = ()
    gallery: tuple[Sample, ...] = ()

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
        low, macro = table.loc[table["mean"].idxmin()], table["mean"].mean()
        spread = f" ({low['low']:.0%} to {low['high']:.0%})"
        return (f"{self.model} is right on {macro:.0%} of images in the mean over {len(table)} domains, and on "
                f"{low['mean']:.0%}{spread} in {low['domain']}, the worst.")  # fmt: skip

    def _warnings(self) -> tuple[str, ...]:
        return (*super()._warnings(), *self.settings["notes"])

    def _sections(self) -> Sequence[Section]:
        sections = []
        if self.source:
            table = self.domains()[["domain", "n", "mean", "low", "high", "drop", "drop_low", "drop_high"]]
            title = f"How much lower than in {', '.join(self.source)}?"
            sections.append(Section("drop", title, tables={"": table.set_axis(
                ["domain", "items", "right", "low", "high", "drop", "drop low", "drop high"], axis=1)}))  # fmt: skip
        curves, curve = self.severity()
        if len(curve):
            note = "Halfway is the severity at which half of what lies between unchanged images and chance is lost."
            tables = {"Curves": curve, "Points": shown(curves)}
            figures = {"Share that is right by severity": self._draw_curves}
            sections.append(
                Section("severity", "How does it fall?", notes=(note,), tables=tables, figures=figures)
            )
        gains = self.gains()
        if len(gains):
            columns = ["domain", "effect", "n", "before", "after", "difference", "low", "high", "p_holm"]
            both = pd.concat([gains, self.gains("domain")])[columns]
            note = "Where permuted labels add as much, it is not the labels that help."
            sections.append(Section("examples", "What do examples add?", notes=(note,), tables={"": both}))
        sure = scoring.confidence(self.records)
        words = {"missing": "answers without one", "ece": "expected calibration error (10 bins of equal mass)",
                 "auroc": "area under the curve, for being right"}  # fmt: skip
        facts = {words[name]: value for name, value in sure.items() if not np.isnan(value)}
        tables = {
            name: self.confusion(name).reset_index() for name in sorted(self.records["domain"].unique())[:8]
        }
        return [
            *sections,
            Section("confidence", "What is the stated confidence worth?", facts=facts),
            Section("confusion", "Which classes are taken for which?", tables=tables, folded=True),
        ]

    def _examples(self, n: int = 12) -> list[Section]:
        wrong = self.records[self.records["correct"] == 0].head(n)
        if not len(wrong):
            return []
        pictures = {sample.name: sample.images for sample in self.gallery}
        samples = [
            Sample(
                row["image"],
                pictures.get(row["image"], ()),
                f"right: {row['target']}\nanswer: {row['answer']}",
            )
            for _, row in wrong.iterrows()
        ]
        return [Section("wrong", "What was wrong?", notes=(TWIN,), samples=samples, folded=True)]

    def _draw(self, ax: Axes) -> None:
        from groundshift.graded import draw_shares

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
               "gains_by_domain": self.gains("domain"), "confidence": scoring.confidence(self.records)}  # fmt: skip
        return {**super()._content(), **own}

    def _write_more(self, folder: Path) -> None:
        super()._write_more(folder)
        if len(self.other):
            (more := folder / "conditions").mkdir()
            write_records(self.other, more)


def ask(
    model: Any, data: Any = None, *, layout: Literal["domain/class", "class"] = "domain/class", image: str = "image",
    label: str = "class", domain: str = "domain", per_cell: int = 20, classes: Sequence[str] = (),
    domains: Sequence[str] = (), source: Sequence[str] = (), noise: Sequence[float] = (), styles: Sequence[str] = (),
    severities: Sequence[int] = (1, 3, 5), view: Literal["none", "flip", "crop"] = "none", in_context: int = 0,
    pool: Literal["source", "target"] = "target", choices: Literal["all", "domain"] = "all",
    templates: Sequence[str] = ("{}",), answer: Literal["text", "logprob"] = "text",
    parser: Literal["strict", "published"] = "strict", embed_images: bool = False, answers: str | Path | None = None,
    seed: int = 0, device: str = "auto", allow_missing: bool = False, progress: bool = True,
) -> VisionShift:  # fmt: skip
    """Ask a model what is in images of several domains: as they are, under noise and styles, and with examples.

    Parameters
    ----------
    model : directory or id of a CLIP or SigLIP model, or of one that looks and talks; "inspect:provider/model"; JSONL of
        recorded answers, as ``answers`` wrote it or in the published format ("image", "true_class", "predicted_class",
        "domain"), which needs no images. In Python also a function of messages
    data : folder of images, or a table that names files; in Python also `Images`
    layout : of the folder
    image, label, domain : columns of the table
    per_cell : images of each domain and class
    classes : all that are offered, in order; by default those of the folders
    domains : that are asked about; all if left out
    source : domains that the model is taken to know; the others are compared with them
    noise : variances of Gaussian noise, on pixels from 0 to 1
    styles : of edge, posterise, invert, halftone, blur, jpeg
    severities : of styles, 1 to 5
    view : what the model sees: the image, mirrored or cropped. A run with another view is a twin for `compare`
    in_context : labelled images of each class in front of each query; asked again with permuted labels
    pool : where these come from: source domains, or the query's own
    choices : "domain" offers an image only the classes of its domain
    templates : of the texts of CLIP; "{}" is the bare name, as published. Of several the mean counts
    answer : "logprob" lets a local talking model choose by the log-probability of the names
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
    changes: list[tuple[str, float]] = [("noise", value) for value in noise]
    changes += [(style, float(level)) for style in styles for level in severities]
    for change in changes:
        check_shift(*change)
    if view not in VIEWS or in_context < 0:
        raise InputError(
            f"view={view!r}, in_context={in_context} was given; {', '.join(VIEWS)} and 0 are the least."
        )
    if data is None:
        return _published(model, parser, source)
    how: dict[str, Any] = {
        "layout": layout,
        "per_cell": per_cell,
        "seed": seed,
        "classes": classes,
        "domains": domains,
    }
    if isinstance(data, pd.DataFrame) or (isinstance(data, str | Path) and Path(data).is_file()):
        how |= {"image": image, "label": label, "domain": domain}
    images = load(data, **how)
    items = zero_shot_items(images, changes, seen=view, choices=choices)
    if in_context:
        items += exemplar_items(images, in_context, pool, source, seed=seed, choices=choices)
    offers = Offers(images, choices)
    name, texts = _answered(
        model, items, offers, templates=templates, answer=answer, answers=answers, seed=seed, device=device,
        allow_missing=allow_missing, progress=progress,
    )  # fmt: skip
    records = _graded(items, texts, images.classes, parser, name)
    settings = {
        "data": images.digest, "images": len(images.table), "classes": len(images.classes), "per_cell": per_cell,
        "seed": seed, "view": view, "choices": choices, "parser": parser, "answer": answer,
        "templates": list(templates), "pool": pool if in_context else "", "prompt": items[0].messages[0]["content"][-1]["text"],
        "notes": list(images.notes),
    }  # fmt: skip
    result = _result(records, settings, source)
    return VisionShift(**{**vars(result), "gallery": _gallery(result, images)}) if embed_images else result


def _answered(
    model: Any, items: list[Item], offers: Offers, *, templates: Sequence[str], answer: str, answers: Any, seed: int,
    device: str, allow_missing: bool, progress: bool,
) -> tuple[str, list[str | None]]:  # fmt: skip
    """The model's name and its answer to each item; the same question is asked once."""
    loading: dict[str, Any] = {"device": device, "allow_missing": allow_missing}
    if _is_published(model):
        known = {row["image"]: row for row in _lines(model)}
        if missing := [i.facts["image"] for i in items if i.facts["image"] not in known]:
            raise InputError(f"{model} has no answer about {len(missing)} images: {', '.join(missing[:3])}.")
        return str(model), [_written(known[item.facts["image"]]) for item in items]
    if hasattr(model, "embed_images") or is_classifier(model):
        if any(item.facts["protocol"] != "zero-shot" for item in items):
            raise InputError(f"{model} takes no text beside an image; ask a model that talks for in_context.")
        classifier = Classifier(model, offers.images.classes, templates, **loading)
        return classifier.name, list(classifier.answers(items, offers, progress))
    if answer == "logprob":
        model = Likelihoods(model, offers.by_question(), **loading)
    once = list({item.id: item for item in items}.values())
    name, texts = ask_items(once, model, answers=answers, seed=seed, progress=progress, **loading)
    by_id = dict(zip([item.id for item in once], texts, strict=True))
    return name, [by_id[item.id] for item in items]


def _graded(items: list[Item], texts: Any, classes: Sequence[str], parser: str, name: str) -> pd.DataFrame:
    reader = parser_of(classes, parser)
    return grade_items(
        items, texts, reader, grade, task="vlmshift", version=f"{VERSION} {parser}", model=name
    )


def _result(records: pd.DataFrame, settings: dict[str, Any], source: Sequence[str]) -> VisionShift:
    plain = (records["shift"] == "none") & (records["protocol"] == "zero-shot")
    first, other = records[plain].reset_index(drop=True), records[~plain].reset_index(drop=True)
    result = VisionShift(first, "vlmshift", ("domain", "class"), settings, other, tuple(source))
    result.domains()  # refuses an unknown source
    return result


def _gallery(result: VisionShift, images: Images, most: int = 12) -> tuple[Sample, ...]:
    wrong = result.records[result.records["correct"] == 0]["image"].head(most)
    small = []
    for name in wrong:
        picture = images.picture(name).read()
        picture.thumbnail((224, 224))
        small.append(Sample(name, (np.asarray(picture),)))
    return tuple(small)


# Recorded answers in the published format ----------------------------------------------------------------------


def _lines(file: Any) -> list[dict[str, Any]]:
    return [row for _, row in read_lines(Path(file))]


def _is_published(model: Any) -> bool:
    if not isinstance(model, str | os.PathLike) or not str(model).endswith((".jsonl", ".jsonl.gz")):
        return False
    rows = _lines(model) if Path(model).is_file() else []
    return bool(rows) and all(isinstance(r, dict) and {"image", "predicted_class"} <= set(r) for r in rows)


def _written(row: dict[str, Any]) -> str:
    """What a line of the published format says, as an answer; nothing where it could not be parsed."""
    if row["predicted_class"] is None:
        return str(row.get("reasoning") or "")
    return answer_text(row["predicted_class"], row.get("confidence_score"), row.get("reasoning") or "")


def _published(file: Any, parser: str, source: Sequence[str]) -> VisionShift:
    """Recorded answers that say themselves what is right; their classes are those that are right somewhere."""
    if not _is_published(file):
        raise InputError(
            f"{file} was given without images; give a folder of images, or JSONL whose lines have image, domain, "
            "true_class and predicted_class."
        )
    rows = _lines(file)
    if bad := [k for k, row in enumerate(rows, 1) if not row.get("true_class") or not row.get("domain")]:
        raise InputError(f"{file}: row {bad[0]} has no true_class or no domain; give images, too.")
    classes = list(
        dict.fromkeys(
            [row["true_class"] for row in rows] + [r["predicted_class"] for r in rows if r["predicted_class"]]
        )
    )
    notes = check_classes(classes)[:3]
    items = []
    for row in rows:
        facts = {"image": row["image"], "domain": row["domain"], "class": row["true_class"], "protocol": "zero-shot",
                 "shift": "none", "severity": 0.0, "group": row["image"], "chance": 1 / len(classes)}  # fmt: skip
        items.append(Item(str(row["image"]), row["true_class"], facts))
    if len({item.id for item in items}) < len(items):
        raise InputError(f"{file} has two answers about one image; give each once.")
    records = _graded(items, [_written(row) for row in rows], classes, parser, str(file))
    return _result(records, {"recorded": str(file), "images": len(rows), "notes": notes}, source)
