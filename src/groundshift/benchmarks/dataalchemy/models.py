"""Models of the world of letters: trained from scratch, or any causal language model of Hugging Face, tuned or as it
is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from groundshift.benchmarks.dataalchemy.records import Record, Rules, World, by_place, rule_list
from groundshift.benchmarks.dataalchemy.records import apart as letters_apart
from groundshift.errors import InputError
from groundshift.models import tinylm
from groundshift.models.activations import ProbeModel, encode, generate, load_model
from groundshift.models.records import read_json
from groundshift.models.tokens import Written, tokenise
from groundshift.report import Report
from groundshift.result import Result
from groundshift.worlds.tinylm import IGNORED, PAD, UNK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SIZES", "Model", "answers", "heal", "mean_unknown", "open_model", "train"]

CARD = "dataalchemy.json"
SIZES = {"29k": (32, 2), "62k": (32, 4), "107k": (64, 2), "207k": (64, 4), "800k": (128, 4), "4m": (256, 5),
         "25m": (512, 8),
         "85m": (768, 12), "302m": (1024, 24), "617m": (1280, 31), "1.5b": (1600, 48), "3b": (2048, 60)}  # fmt: skip
"""Hidden size and layers by rounded number of weights, with a head for each 64 of hidden size and four at least."""
Block = Literal["none", "padding", "group"]
Batches = Callable[[np.random.Generator], dict[str, Any]]


@dataclass(repr=False)
class Model(Result):
    """A model with what it was trained on; `save` writes a Hugging Face directory.

    Attributes
    ----------
    probe : network and tokenizer
    world : alphabet and rules
    train : trained lists of rules; empty: unknown
    lengths : trained lengths of elements
    letters : trained letters, by place (see `World.places`); empty: all in all places
    cot : trained with chains of thought
    history : the loss of each step
    """

    probe: ProbeModel
    world: World
    train: tuple[tuple[str, ...], ...] = ()
    lengths: tuple[int, ...] = (4,)
    letters: tuple[str, ...] = ()
    cot: bool = True
    history: list[float] = field(default_factory=list)

    @property
    def net(self) -> Any:
        """The network of transformers."""
        return self.probe.net

    def report(self) -> Report:
        """What was trained, and to which loss."""
        lists = (
            ", ".join("".join(rule.strip("[]") for rule in rules) for rules in self.train) or "unknown lists"
        )
        steps = f" for {len(self.history)} steps to a loss of {self.history[-1]:.4f}" if self.history else ""
        card = {name: value for name, value in self._content().items() if name != "world"}
        return Report(
            "dataalchemy", self.probe.source,
            f"{self.net.num_parameters():,} weights, trained on {lists}{steps}.",
            "Ask it with groundshift dataalchemy evaluate and the folder that it was saved to.",
            figure=("Loss of each step", self._draw) if self.history else None, settings=card,
        )  # fmt: skip

    def _content(self) -> dict[str, Any]:
        """The card that `open_model` reads; rules of one's own, which no card can hold, are named by their tokens."""
        w = self.world
        return {
            "train": ["".join(rules) for rules in self.train],
            "lengths": self.lengths,
            "letters": self.letters,
            "cot": self.cot,
            "world": {"rules": list(w.known), "length": w.length, "alphabet": w.alphabet, "rot_n": w.rot_n,
                      "pos_n": w.pos_n, "direction": w.direction},
            "weights": self.net.num_parameters(),
            "steps": len(self.history),
            "loss": self.history[-1] if self.history else None,
        }  # fmt: skip

    def _write_more(self, folder: Path) -> None:
        """The model and its tokenizer, as a Hugging Face directory."""
        self.net.save_pretrained(folder)
        self.probe.tokenizer.save_pretrained(folder)

    def _draw(self, ax: Axes) -> None:
        ax.plot(range(1, len(self.history) + 1), self.history, color="#2f7fa8")
        ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_ylabel("loss")


def open_model(
    source: str | Path,
    *,
    world: World | None = None,
    train: Sequence[Rules] = (),
    letters: Sequence[str] = (),
    **loading: Any,
) -> Model:
    """A directory or id of Hugging Face; what it was trained on is read from its card, or said.

    Parameters
    ----------
    train, letters : lists of rules and letters (see `World.places`) that it was trained on
    loading : of `groundshift.models.activations.load_model`
    """
    card_file = Path(source) / CARD
    card = read_json(card_file) if card_file.is_file() else {}
    if world is None:
        world = World(**card["world"]) if card else World()
    lists = tuple(rule_list(rules) for rules in (train or card.get("train", ())))
    for rules in lists:
        world.find(rules)
    pools = by_place(letters or card.get("letters", ()))
    world.places(pools, world.length)
    probe = load_model(source, **loading)
    _warn_of_pieces(probe.tokenizer, world)
    lengths = tuple(card.get("lengths", [world.length]))
    return Model(probe, world, lists, lengths, pools, card.get("cot", True))


def _warn_of_pieces(tokenizer: Any, world: World) -> None:
    """A tokenizer that splits rules or merges letters makes another task of this one."""
    text = f"{world.letters(np.arange(min(4, world.size)))} {' '.join(world.known)}"
    pieces = [tokenizer.decode([i]).strip() for i in tokenizer(text, add_special_tokens=False)["input_ids"]]
    if [p for p in pieces if p] != text.split():
        warnings.warn(
            f"The tokenizer reads {text!r} as {pieces}; split rules or merged letters hide places "
            "from the model.",
            stacklevel=3,
        )


def train(
    train: Sequence[Rules],
    size: str = "29k",
    *,
    world: World | None = None,
    model: str | Path | Model | None = None,
    steps: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    arch: Literal["gpt2", "llama"] = "llama",
    lengths: Sequence[int] | None = None,
    letters: Sequence[str] = (),
    apart: bool = False,
    block: Block = "none",
    cot: bool = True,
    elements: Callable[[np.random.Generator, int], NDArray[np.int64]] | None = None,
    loss: Literal["output", "all"] | None = None,
    until: float | None = None,
    compat: Literal["official"] | None = None,
    allow_missing: bool = False,
    **config: Any,
) -> Model:
    """Train a model on lists of rules, with fresh elements in each batch.

    Parameters
    ----------
    train : lists of rules, mixed in equal shares, as F1F1,F1F2
    size : size of a model from scratch, a name of `SIZES`: 29k, 62k, 107k, ... 3b.
    world : alphabet and rules; the paper's by default
    model : directory or id of a model to tune instead, with its own tokenizer
    steps : number of optimiser steps; at most 300 by default (AdamW, warm-up over a tenth, then a cosine)
    batch : records in a step; 64 by default
    lr : peak learning rate; 1e-2 by default
    seed : random seed
    arch : "gpt2" or "llama"
        Architecture of a model from scratch; GPT-2 of the smallest sizes needs about twice as many steps.
    lengths : lengths of elements, mixed in equal shares; the world's by default
    letters : letters that elements are made of: one text, or one for each place (see `World.places`); the whole
        alphabet by default
    apart : keep every letter out of one place, so that the element axis can ask it there
    block : "none", "padding" or "group"
        With none the records of a batch are of one length, with padding all are padded to the longest, with group
        records follow each other in rows of one length, cut where a row ends.
    cot : train with chains of thought
    elements : (rng, n) -> elements (n, l), in place of uniform ones
    loss : "output" or "all", optional
        Tokens that the loss is on.
    until : stop once the loss on a fixed batch is below
    compat : "official", optional
        Take the choices of the published code: a byte-level BPE (gpt2) or a unigram tokenizer (llama) trained on the
        corpus, dropout 0.1, loss on all tokens, 3e-3, batches of 1024.
    allow_missing : load a model whose files lack tensors
    config : of ``GPT2Config`` or ``LlamaConfig``, for a model from scratch, over those of the size

    Raises
    ------
    InputError
        An unknown size, rule, letter, block or loss; no list; lists or lengths of which a row has no room; no step.

    Examples
    --------
    >>> model = train(["F1F1", "F1F2"], steps=2)
    >>> model.train, len(model.history)
    ((('[F1]', '[F1]'), ('[F1]', '[F2]')), 2)
    """
    world = world or (model.world if isinstance(model, Model) else World())
    lists = tuple(dict.fromkeys(rule_list(rules) for rules in train))
    if not lists:
        raise InputError("No list of rules was given to train; at least one is needed.")
    for rules in lists:
        world.find(rules)
    known = tuple(lengths or [world.length])
    official = compat == "official"
    loss = loss or ("all" if official else "output")
    if size not in SIZES or arch not in ("gpt2", "llama") or block not in ("none", "padding", "group"):
        raise InputError(
            f"size={size!r}, arch={arch!r}, block={block!r} was given; sizes are {', '.join(SIZES)}, arch gpt2 and "
            "llama, blocks none, padding and group."
        )
    if loss not in ("output", "all") or compat not in (None, "official"):
        raise InputError(
            f"loss={loss!r}, compat={compat!r} was given; loss is output or all, compat official or None."
        )
    steps, batch = 300 if steps is None else steps, batch or (1024 if official else 64)
    pools = letters_apart(world, "".join(letters) or None) if apart else by_place(letters)
    if elements is not None and pools:
        raise InputError("elements= and letters= both say what elements are made of; give one of them.")
    for length in known:
        world.places(pools, length)
    if isinstance(model, Model):
        probe = ProbeModel(copy.deepcopy(model.net), model.probe.tokenizer)
    elif model is not None:
        probe = load_model(model, allow_missing=allow_missing)
        _warn_of_pieces(probe.tokenizer, world)
    elif official:
        probe = _fresh(
            world, size, arch, seed, _learned_tokenizer(world, lists, arch, cot, seed), 0.1, **config
        )
    else:
        probe = _fresh(world, size, arch, seed, None, **config)
    by_ids = model is None and not official
    lines = _Lines(world, lists, known, pools, cot, elements, None if by_ids else probe.tokenizer)
    limit = probe.context
    if limit is not None and lines.longest > limit:
        raise InputError(
            f"The longest record has {lines.longest} tokens and the model reads {limit}; ask for less."
        )
    batches = _batches(lines, batch, block, loss == "all")
    fixed = {k: torch.as_tensor(v) for k, v in batches(np.random.default_rng([seed, 1])).items()}

    def fit_so_far(net: Any) -> float:
        with torch.inference_mode():
            return -float(
                tinylm.lm_loss(net(input_ids=fixed["ids"].to(net.device)).logits.cpu(), fixed["labels"])
            )

    done = tinylm.fit(
        probe.net, batches, steps, lr or (3e-3 if official else 1e-2), warmup=0.1, betas=(0.9, 0.95), seed=seed,
        stop=None if until is None else tinylm.Gate(fit_so_far, -until, 25), describe="training on letters",
    )  # fmt: skip
    return Model(
        ProbeModel(done.net, probe.tokenizer, source=probe.source),
        world,
        lists,
        known,
        pools,
        cot,
        done.history,
    )


def _fresh(
    world: World, size: str, arch: str, seed: int, tokenizer: Any, dropout: float = 0.0, **config: Any
) -> ProbeModel:
    width, layers = SIZES[size]
    heads = max(4, width // 64)
    if tokenizer is None:
        tokenizer = tinylm.tokenizer(world.lexicon)
    positions = 64 if dropout == 0 else 256
    sizes: dict[str, Any]
    if arch == "gpt2":
        drop = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
        # The same function as GPT-2's own form of GELU, in one kernel.
        sizes = {
            "n_embd": width,
            "n_layer": layers,
            "n_head": heads,
            "activation_function": "gelu_pytorch_tanh",
            **drop,
        }
    else:
        sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
                 "intermediate_size": round(8 / 3 * width), "attention_dropout": dropout}  # fmt: skip
    if not dropout:
        # From the usual start (0.02, tied) networks this small are still at chance after 250 steps.
        sizes |= {"initializer_range": 0.1, "tie_word_embeddings": False}
    net = tinylm.build(
        "29k", len(tokenizer), positions=positions, arch=arch, seed=seed, **{**sizes, **config}
    )
    return ProbeModel(net, tokenizer, source=f"a {arch} of size {size}")


def _learned_tokenizer(
    world: World, lists: Sequence[tuple[str, ...]], arch: str, cot: bool, seed: int
) -> Any:
    """A tokenizer trained on the corpus, as the published code does; it merges letters that often stand together."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<bos>", "<eos>", "<unk>"]
    rng = np.random.default_rng([seed, 2])
    corpus = [
        f"{r['input']} {r['output']}" for rules in lists for r in world.sample(rng, 5000, rules, cot=cot)
    ]
    tokenizer: Any
    trainer: Any
    if arch == "gpt2":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=10_000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=10_000, special_tokens=special, unk_token="<unk>", show_progress=False
        )
    tokenizer.train_from_iterator(corpus, trainer)
    pad, bos, eos, unk = special
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=bos,
        eos_token=eos,
        unk_token=unk,
        padding_side="left",
    )


# Batches -------------------------------------------------------------------------------------------------


@dataclass
class _Lines:
    """Random lines of the training law, as lists of ids with the length of their prompts."""

    world: World
    lists: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]
    letters: tuple[str, ...]
    cot: bool
    elements: Callable[[np.random.Generator, int], NDArray[np.int64]] | None
    tokenizer: Any = None

    def __post_init__(self) -> None:
        self.kinds = [(rules, l) for rules in self.lists for l in self.lengths]  # noqa: E741
        shapes: dict[tuple[int, int], list[tuple[str, ...]]] = {}
        for rules, l in self.kinds:  # noqa: E741
            shapes.setdefault((len(rules), l), []).append(rules)
        self.shapes = shapes
        self.longest = max(
            lines.shape[1] for (_, l), lists in shapes.items()  # noqa: E741
            for lines, _ in [self.draw(np.random.default_rng(0), 2, l, lists)]
        )  # fmt: skip

    def draw(
        self, rng: np.random.Generator, n: int, length: int, lists: list[tuple[str, ...]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lines (n, T) of lists as long as each other, and the length of each prompt (n,)."""
        world = self.world
        chosen = (
            self.elements(rng, n) if self.elements else world.random_elements(rng, n, length, self.letters)
        )
        which = rng.integers(len(lists), size=n)
        if self.tokenizer is None:
            lines, prompt = world.encode_mixed(chosen, lists, which, cot=self.cot)
            return lines, np.full(n, prompt)
        records = [
            world.records(e[None], lists[i], cot=self.cot)[0] for e, i in zip(chosen, which, strict=True)
        ]
        return _encoded(self.tokenizer, records)


def _encoded(tokenizer: Any, records: Sequence[Record]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lines of records by any tokenizer, padded on the right; its special tokens stand before the prompt only."""
    encodings = tokenise(tokenizer, [Written(r["input"], f" {r['output']}") for r in records])
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    rows = [tokens.prompt + tokens.answer + end for tokens in encodings]
    lines = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for line, row in zip(lines, rows, strict=True):
        line[: len(row)] = row
    return lines, np.array([len(tokens.prompt) for tokens in encodings])


def _batches(lines: _Lines, size: int, block: str, everything: bool) -> Batches:
    shapes = list(lines.shapes.items())
    share = np.array([len(lists) for _, lists in shapes]) / len(lines.kinds)
    pad_id = PAD if lines.tokenizer is None else (lines.tokenizer.pad_token_id or 0)

    def one(rng: np.random.Generator, n: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        (_, length), lists = shapes[k]
        ids, prompt = lines.draw(rng, n, length, lists)
        labels = ids.copy()
        if not everything:
            labels[np.arange(ids.shape[1]) < prompt[:, None]] = IGNORED
        return ids, labels

    def several(rng: np.random.Generator, n: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        return [one(rng, int(m), k) for k, m in enumerate(rng.multinomial(n, share)) if m]

    def draw(rng: np.random.Generator) -> dict[str, Any]:
        if block == "none":
            ids, labels = one(rng, size, int(rng.choice(len(shapes), p=share)))
        elif block == "padding":
            parts = several(rng, size)
            ids, labels = (np.concatenate([_wide(part[i], lines.longest) for part in parts]) for i in (0, 1))
        else:
            # Rows of twice the longest record: nearly every place of a row may begin a record.
            width = 2 * lines.longest
            parts = several(rng, 2 * size)
            flat = [(i[i >= 0], l[i >= 0]) for part in parts for i, l in zip(*part, strict=True)]  # noqa: E741
            flat = [flat[i] for i in rng.permutation(len(flat))]
            start = int(rng.integers(lines.longest))
            ids, labels = (np.concatenate([f[i] for f in flat])[start:] for i in (0, 1))
            rows = len(ids) // width
            ids, labels = (a[: rows * width].reshape(rows, width) for a in (ids, labels))
        labels = np.where(ids < 0, IGNORED, labels)
        return {"ids": np.where(ids < 0, pad_id, ids), "labels": labels}

    return draw


def _wide(ids: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    return np.pad(ids, ((0, 0), (0, width - ids.shape[1])), constant_values=-1)


# Answers, and healing ------------------------------------------------------------------------------------


def answers(
    model: Model | ProbeModel | Callable[[list[str]], list[str]],
    prompts: Sequence[str],
    *,
    max_new: int,
    temperature: float = 0.0,
    seed: int = 0,
    progress: bool = False,
) -> list[str]:
    """What a model writes after prompts, cut off by tokens, its end token left out; greedily at temperature 0.

    ``model`` may also be a function of prompts. An empty prompt is answered by nothing.
    """
    if callable(model) and not isinstance(model, ProbeModel):
        return [str(text).strip() for text in model(list(prompts))]
    probe = model.probe if isinstance(model, Model) else model
    nonempty = [i for i, prompt in enumerate(prompts) if prompt.strip()]
    if probe.context is not None and nonempty:
        longest = max(map(len, encode(probe, [prompts[i] for i in nonempty])))
        max_new = min(max_new, probe.context - longest)
    how: dict[str, Any] = {"seed": seed, "temperature": temperature, "top_k": 0} if temperature else {}
    generated = generate(
        probe, [{"prompt": prompts[i]} for i in nonempty], max_new_tokens=max_new, progress=progress, **how
    )
    ends = {probe.tokenizer.eos_token_id, probe.tokenizer.pad_token_id}
    written = [""] * len(prompts)
    for i, row in zip(nonempty, generated, strict=True):
        # Marks may be special tokens of the tokenizer, so nothing is skipped but the end.
        completion = [token for token in row["completion_ids"] if token not in ends]
        written[i] = probe.tokenizer.decode(completion, skip_special_tokens=False).strip()
    return written


def heal(
    model: Model,
    rules: Rules,
    n: int = 32,
    *,
    steps: int = 80,
    batch: int = 32,
    lr: float = 6e-3,
    wrong: bool = False,
    seed: int = 0,
) -> Model:
    """A copy of a model, tuned on ``n`` records of one list of rules.

    Parameters
    ----------
    wrong : a control: outputs change owners among the records, so each is right for another element
    """
    rng = np.random.default_rng([seed, n])
    world = model.world
    records = world.sample(rng, n, rules, length=model.lengths[0], letters=model.letters, cot=model.cot)
    if wrong:
        # A cycle leaves no output with its owner.
        records = [
            {**r, "output": other["output"]}
            for r, other in zip(records, records[1:] + records[:1], strict=True)
        ]
    ids, prompt = _encoded(model.probe.tokenizer, records)
    labels = np.where((np.arange(ids.shape[1]) < prompt[:, None]) | (ids < 0), IGNORED, ids)
    ids = np.where(ids < 0, model.probe.tokenizer.pad_token_id or 0, ids)

    def some(rng: np.random.Generator) -> dict[str, Any]:
        rows = rng.permutation(len(ids))[:batch]
        return {"ids": ids[rows], "labels": labels[rows]}

    net = copy.deepcopy(model.net)
    done = tinylm.fit(net, some, steps, lr, warmup=0.1, betas=(0.9, 0.95), seed=seed, describe="healing")
    probe = ProbeModel(done.net, model.probe.tokenizer, source=f"{model.probe.source}, healed")
    return replace(model, probe=probe, train=(*model.train, rule_list(rules)), history=done.history)


def mean_unknown(model: Model) -> Model:
    """A copy whose ``<unk>``, which no record trains, is the mean of the letters' and rules' embeddings."""
    net = copy.deepcopy(model.net)
    words = model.probe.tokenizer
    rows = words.convert_tokens_to_ids([*model.world.alphabet, *model.world.known])
    unknown = UNK if words.unk_token_id is None else words.unk_token_id
    with torch.no_grad():
        table = net.get_input_embeddings().weight
        table[unknown] = table[rows].mean(0)
    return replace(model, probe=ProbeModel(net, words, source=model.probe.source))
