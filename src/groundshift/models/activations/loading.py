"""A language model as its user has it: Hugging Face directories and ids, adapters of PEFT, image-text models."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
import logging
import math
import os
import struct
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from groundshift.errors import InputError, MissingPart

if TYPE_CHECKING:
    from groundshift.models.activations.rows import Batch

__all__ = [
    "DAMAGED",
    "ProbeModel",
    "damaged",
    "empty_network",
    "gguf_of",
    "load_model",
    "load_network",
    "load_tokenizer",
    "refuse_no_model",
    "unlike",
    "without_weights",
]

PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")
DAMAGED = (OSError, ValueError, RuntimeError, SafetensorError, StrictDataclassError, struct.error)
MOST = 400  # characters of another library's message
FIRST = 4  # names that a message tells
ROUNDED = 0.005  # relative change of a weight that is kept in another dtype, at most
SAMPLED = 1024  # entries of each weight that go into the fingerprint


@dataclass
class ProbeModel:
    """A causal language model, or an image-text model, with what is needed to read and steer it.

    The network runs unchanged: nothing is converted, so its logits are those of transformers. A model in memory is
    made ready by ``ProbeModel(net, tokenizer)``.

    Attributes
    ----------
    net : transformers model with a language head
    tokenizer : its tokenizer
    processor : of an image-text model; None otherwise
    source : where it came from, for messages
    no_processor : why an image-text model has none
    notes : what was let pass when it was loaded
    """

    net: Any
    tokenizer: Any
    processor: Any = None
    source: str = "a model in memory"
    no_processor: str = ""
    notes: tuple[str, ...] = ()
    current: Batch | None = field(default=None, init=False, repr=False)
    """The batch that is being read, for hooks that ask where a token stands."""
    recording: bool = field(default=False, init=False, repr=False)
    """`record` is under way."""
    steers: list[dict[str, Any]] = field(default_factory=list, init=False, repr=False)
    """What steers the model now; part of the identity of a cache."""
    trying: bool = field(default=False, init=False, repr=False)
    """The pass that runs now only tries what the network can do; it is neither recorded nor steered."""

    def __post_init__(self) -> None:
        if hasattr(self.net, "get_base_model"):  # PEFT's wrapper; the adapter is in the model that it wraps
            _refuse_prompts(self.net.active_peft_config, self.source)
            self.net = self.net.get_base_model()

    @property
    def body(self) -> Any:
        """The network without its language head (for image-text models: with the images)."""
        found = self.net.base_model
        if found is self.net:  # the prefix of some classes names no part of theirs (Llama 4's text model)
            parts = [part for part in self.net.children() if isinstance(part, PreTrainedModel)]
            return parts[0] if len(parts) == 1 else found
        return found

    @property
    def decoder(self) -> Any:
        """The language stack."""
        found = self.net.get_decoder()
        return self.body if found is self.net and isinstance(found, PreTrainedModel) else found

    @cached_property
    def layers(self) -> list[nn.Module]:
        """The decoder blocks of the language stack, block 0 first.

        Raises
        ------
        InputError
            No list of blocks, or several that could be it.
        """
        depth = self.net.config.get_text_config().num_hidden_layers
        named = getattr(self.decoder, "layers", None)
        if isinstance(named, nn.ModuleList) and len(named) == depth:
            return list(named)
        lists = {n: m for n, m in self.decoder.named_modules() if isinstance(m, nn.ModuleList)}
        fit = [m for m in lists.values() if len(m) == depth and len({type(block) for block in m}) == 1]
        if len(fit) != 1:
            seen = ", ".join(f"{n} ({len(m)} × {type(m[0]).__name__})" for n, m in lists.items() if len(m))
            raise InputError(
                f"{len(fit)} lists of {depth} blocks were found in {type(self.net).__name__}; one is needed. "
                f"Lists of modules: {seen or 'none'}."
            )
        return list(fit[0])

    @property
    def device(self) -> torch.device:
        """Where the input ids go."""
        return self.net.get_input_embeddings().weight.device

    @property
    def width(self) -> int:
        """Size of the hidden states; embeddings can be narrower."""
        return self.net.config.get_text_config().hidden_size

    @property
    def unembedding(self) -> Tensor:
        """What the language head multiplies states by, (V, D), with what an adapter of the head adds."""
        head = self.net.get_output_embeddings()
        if not hasattr(head, "base_layer"):  # PEFT's
            return head.weight.detach()
        with torch.inference_mode():
            units = torch.eye(self.width, dtype=head.weight.dtype, device=head.weight.device)
            return (head(units) - head(torch.zeros_like(units[:1]))).T

    @property
    def image_ids(self) -> set[int]:
        """Ids of the tokens that stand for parts of an image."""
        names = ("image_token_id", "image_token_index")
        return {v for name in names if (v := getattr(self.net.config, name, None)) is not None}

    @property
    def context(self) -> int | None:
        """The most tokens of a row, where the model has a limit; some configurations write -1 for none."""
        most = getattr(self.net.config.get_text_config(), "max_position_embeddings", None)
        return most if most is not None and most > 0 else None

    @property
    def stretched(self) -> int | None:
        """Tokens of a pass beyond which the rotary embeddings of all its rows are others ("longrope"): a longer row is
        read by itself, and without a cache.
        """
        rope = getattr(self.net.config.get_text_config(), "rope_parameters", None) or {}
        # Some have one for each kind of block.
        kinds = [rope, *(part for part in rope.values() if isinstance(part, dict))]
        lengths = [k["original_max_position_embeddings"] for k in kinds if k.get("rope_type") == "longrope"]
        return min(lengths, default=None)

    @cached_property
    def arguments(self) -> set[str]:
        """Names that the body's forward takes."""
        return set(inspect.signature(self.body.forward).parameters)

    @contextlib.contextmanager
    def reading(self, batch: Batch) -> Iterator[None]:
        """The batch is what the model reads now, in evaluation mode."""
        training = self.net.training
        before, self.current = self.current, batch
        self.net.eval()
        try:
            yield
        finally:
            self.current = before
            if training:
                self.net.train()

    def fingerprint(self) -> dict[str, Any]:
        """Hashes of configuration, weights and tokenizer, and what steers the model now.

        The weights' hash reads up to 1024 entries of every tensor: headers do not tell fine-tunes of one model apart.
        """
        weights = hashlib.sha256()
        for name, weight in self.net.state_dict().items():
            if weight.is_meta:  # offloaded
                continue
            if type(weight) not in (torch.Tensor, nn.Parameter):  # quantised by a class of its own
                weight = weight.dequantize()
            flat = weight.detach().reshape(-1)
            some = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED].contiguous().cpu()
            weights.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
            weights.update(some.view(torch.uint8).numpy().tobytes())
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        words = (
            backend.to_str()
            if backend is not None
            else json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        )
        return {
            "config": _sha(json.dumps(_architecture(self.net.config.to_dict()), sort_keys=True, default=str)),
            "weights": weights.hexdigest(),
            "tokenizer": _sha(words),
            "steered": list(self.steers),
        }


def load_model(
    dir_or_id: str | Path,
    *,
    base: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
    allow_missing: bool = False,
) -> ProbeModel:
    """Load a causal language model or an image-text model, or an adapter on its base, ready to be read.

    What is loaded is what the files say: a tensor that is missing, unexpected or of another shape is an error.

    Parameters
    ----------
    dir_or_id : directory of a model or of a PEFT adapter, a GGUF file (its weights are unpacked) or a directory that
        holds one and no other model, or the id of one on the hub
    base : the model under an adapter, where it is not the one its ``adapter_config.json`` names
    device : "auto" (cuda, else mps, else cpu), a torch device, or "spread" over all accelerators by accelerate
    dtype : "auto" as the weights are stored, or "float32", "bfloat16", "float16"
    attn : "auto", or an attention implementation of transformers ("eager", "sdpa", ...)
    revision : of an id on the hub
    trust_remote_code : run code that comes with the model
    trust_pickle : read weights from ``.bin`` files, which are pickles and can run code
    allow_missing : load what there is, with random numbers for the rest, and an adapter on another base than its own;
        ``notes`` say what was let pass

    Raises
    ------
    InputError
        No model there, no tokenizer, only pickled weights, a model that writes no text, an unknown device or dtype;
        tensors that are missing, unexpected or of another shape; an adapter of another base; a quantised model whose
        package is not installed.

    Warns
    -----
    UserWarning
        An adapter whose configuration names a base that is not here, so that it cannot be compared with the one given;
        whatever ``allow_missing`` let pass.

    Examples
    --------
    >>> load_model("no/such/folder/here")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    groundshift.errors.InputError: no/such/folder/here is no folder ...
    """
    source = str(dir_or_id)
    net, root, hub, notes = load_network(
        source, base=base, device=device, dtype=dtype, attn=attn, revision=revision,
        trust_remote_code=trust_remote_code, trust_pickle=trust_pickle, allow_missing=allow_missing,
    )  # fmt: skip
    for note in notes:
        warnings.warn(note, stacklevel=2)
    model = ProbeModel(net, *_readers(source, root, net.config, hub))
    model.notes = tuple(notes)
    return model


def load_network(
    source: str,
    *,
    base: str | Path | None = None,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "auto",
    revision: str | None = None,
    trust_remote_code: bool = False,
    trust_pickle: bool = False,
    allow_missing: bool = False,
) -> tuple[Any, str, dict[str, Any], list[str]]:
    """The network alone, with PEFT's wrapper around it where it has an adapter; see `load_model`.

    Returns
    -------
    network, in evaluation mode; where its configuration is; how that was loaded; notes
    """
    refuse_no_model(source, trust_pickle)
    hub: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    adapter = None if gguf_of(source) else _adapter(source, revision)
    notes: list[str] = []
    if base is not None and adapter is None:
        raise InputError(f"base={base} was given, but {source} is no adapter: it has no adapter_config.json.")
    if adapter is not None:
        own = str(adapter.get("base_model_name_or_path") or "")
        root = str(base or own)
        if not root:
            raise InputError(f"The adapter {source} names no base; give base=, the directory of its model.")
        refuse_no_model(root, trust_pickle)
        if not trust_pickle and not _file(source, "adapter_model.safetensors", revision):
            raise InputError(
                f"The adapter {source} has no adapter_model.safetensors; save it as safetensors."
            )
        notes += _another_base(source, own, root, allow_missing)
        hub["revision"] = None if base or revision is None else adapter.get("revision")
    else:
        root = source
    if packed := gguf_of(root):
        root, hub["gguf_file"] = packed

    if device == "auto":
        card = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # under torchrun every process has its own
        mps = torch.backends.mps.is_available()
        device = card if torch.cuda.is_available() else "mps" if mps else "cpu"
    placed: dict[str, Any] = {"device_map": "auto"} if device == "spread" else {}
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        raise InputError(f"dtype={dtype!r} was given; choose auto, float32, bfloat16 or float16.")
    quantised: Any = GgufConfig(dequantize=True) if packed else None
    try:
        config = AutoConfig.from_pretrained(root, **hub)
        if packed:
            placed["quantization_config"] = quantised
        elif (quantised := getattr(config, "quantization_config", None)) and not placed:
            placed["device_map"] = {"": device}  # such weights cannot be moved
        with _no_report():
            net, info = _class_for(config, root, trust_remote_code).from_pretrained(
                root,
                dtype=dtype,
                use_safetensors=None if trust_pickle else True,
                attn_implementation=None if attn == "auto" else attn,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **placed,
                **hub,
            )
        notes += unlike(
            root, info["missing_keys"], info["unexpected_keys"], info["mismatched_keys"], allow_missing
        )
        if adapter is not None:
            net, passed = _adapted(net, source, revision, allow_missing)
            notes += passed
    except ImportError as error:
        if quantised:
            told = " ".join(str(error).split())
            if isinstance(error, ModuleNotFoundError) and error.name:
                told = f"pip install {error.name}."
            raise InputError(
                f"{source} is a quantised model ({_method(quantised)}), and the package that reads it is not "
                f"installed: {told}"
            ) from error
        name = "peft" if "peft" in str(error).lower() else error.name
        raise MissingPart(ModuleNotFoundError(str(error), name=name), f"The model {source}") from error
    except DAMAGED as error:
        raise damaged(source, error) from error
    if "device_map" not in placed:
        try:
            net = net.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(f"device={device!r} was given: {_first_line(error)}") from error
    return net.eval(), root, hub, notes


def damaged(source: str, error: BaseException) -> InputError:
    """What to raise when files cannot be read; an `InputError` passes."""
    if isinstance(error, InputError):
        return error
    told = " ".join((str(error).strip() or type(error).__name__).split())
    mend = (
        " A file of it is damaged: copy or download it again." if isinstance(error, SafetensorError) else ""
    )
    return InputError(f"{source} cannot be loaded: {told[:MOST]}{'…' * (len(told) > MOST)}{mend}")


def unlike(
    source: str,
    missing: Iterable[str],
    unexpected: Iterable[str],
    mismatched: Iterable[tuple[str, Any, Any]],
    allow_missing: bool,
) -> list[str]:
    """Refuse files that are not all of a network and nothing else; with ``allow_missing`` what differs is a note.

    Parameters
    ----------
    missing, unexpected : names of tensors
    mismatched : names, with the shapes of the file and of the network
    """
    shapes = [f"{name} ({tuple(a)}, the model has {tuple(b)})" for name, a, b in mismatched]
    kinds = ("missing", missing), ("unknown to the model", unexpected), ("of another shape", shapes)
    told = [f"{len(names)} {kind}: {_some(names)}" for kind, those in kinds if (names := sorted(those))]
    if not told:
        return []
    what = f"The tensors in {source} are not those of the model that its configuration describes: {'; '.join(told)}."
    if allow_missing:
        return [f"{what} What is missing holds random numbers, what is unknown is left out."]
    raise InputError(
        f"{what} What is missing would be random numbers. Save the model again with save_pretrained, or say "
        "allow_missing=True (--allow-missing) to read it as it is."
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:FIRST]) + (", …" if len(names) > FIRST else "")


def _adapted(net: Any, source: str, revision: str | None, allow_missing: bool) -> tuple[Any, list[str]]:
    """A network with an adapter, by PEFT; and notes."""
    from peft import (
        PeftConfig,
        PeftModel,
        get_peft_model_state_dict,
        load_peft_weights,
        set_peft_model_state_dict,
    )

    hub: dict[str, Any] = {} if revision is None else {"revision": revision}
    try:
        config = PeftConfig.from_pretrained(source, **hub)
        _refuse_prompts(config, source)
        held = load_peft_weights(source, device="cpu", **hub)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT only warns of missing tensors; they are refused below
            tuned = PeftModel.from_pretrained(net, source, config=config, torch_device="cpu", **hub)
            # PEFT tells what did not fit only here.
            result: Any = set_peft_model_state_dict(tuned, dict(held))
            state = tuned.state_dict()
            own = {
                id(t) for t in get_peft_model_state_dict(tuned, state, save_embedding_layers=False).values()
            }
    except KeyError as error:
        raise InputError(
            f"The adapter {source} lacks {error}, which its adapter_config.json names, or is of a kind that PEFT does "
            "not know; save it again with save_pretrained."
        ) from error
    except (OSError, SafetensorError) as error:
        raise damaged(source, error) from error
    except (RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"The adapter {source} does not fit its base: {next(iter(lines[1:]), lines[0])} It belongs to another "
            "model, or to one whose embeddings were resized; give base=, or merge it (merge_and_unload) and give the "
            "directory of the whole model."
        ) from error
    missing = [name for name in result.missing_keys if id(state[name]) in own]
    return tuned, unlike(source, missing, result.unexpected_keys, [], allow_missing)


def _refuse_prompts(config: Any, source: str) -> None:
    if config.is_prompt_learning or config.peft_type == "XLORA":
        kind = getattr(config.peft_type, "value", config.peft_type)
        raise InputError(
            f"The adapter {source} is of the kind {kind}, which stands in front of the model's input and not in its "
            "weights; it cannot be read here. Adapters that change weights (LoRA and its kin, IA3, ...) can."
        )


def _another_base(source: str, own: str, given: str, allow_missing: bool) -> list[str]:
    """Refuse an adapter on a base that is known to be another than its own; where that cannot be told, a note."""
    if (
        not own
        or own == given
        or (Path(own).exists() and Path(given).exists() and os.path.samefile(own, given))
    ):
        return []
    what = f"The adapter {source} was trained on {own}, and is read on {given}"
    if not (Path(own).is_dir() and Path(given).is_dir()):
        return [f"{what}; whether they are the same model cannot be told, since they are not both here."]
    different = _different(Path(own), Path(given))
    if not different:
        return []
    if allow_missing:
        return [f"{what}, which has other weights ({different})."]
    raise InputError(
        f"{what}, which has other weights ({different}). Give base={own}, or say allow_missing=True (--allow-missing) "
        "if this base is meant."
    )


def _different(one: Path, other: Path) -> str:
    """The first tensor of one name that differs between two directories by more than rounding, in some entries."""
    where: list[dict[str, Path]] = [{}, {}]
    for found, folder in zip(where, (one, other), strict=True):
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, "pt") as opened:
                found |= dict.fromkeys(opened.keys(), file)
    for name in sorted(where[0].keys() & where[1].keys()):
        some = []
        for found in where:
            with safe_open(found[name], "pt") as opened:
                part = opened.get_slice(name)
                shape = part.get_shape()
                rows = max(1, SAMPLED // max(1, math.prod(shape[1:])))
                some.append((shape, (part[:rows] if shape else part[...]).float()))
        (a_shape, a), (b_shape, b) = some
        if a_shape != b_shape:
            return f"{name} has the shapes {tuple(a_shape)} and {tuple(b_shape)}"
        if float((a - b).norm()) > ROUNDED * float(a.norm()):
            return f"{name} among others"
    return ""


@contextlib.contextmanager
def _no_report() -> Iterator[None]:
    """transformers logs a table of tensors that do not fit; `unlike` says it in a sentence."""
    logger = logging.getLogger("transformers.modeling_utils")

    def other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)


def without_weights(
    dir_or_id: str | Path, config: Any, *, base: str | Path | None = None, trust_remote_code: bool = False
) -> ProbeModel:
    """A model of a configuration whose weights are nowhere (on torch's meta device): it tokenises rows as the loaded
    one will, and knows how long they may be.

    Parameters
    ----------
    dir_or_id : where its tokenizer is, as for `load_model`
    config : of the model
    base : the model under an adapter
    """
    source, root = str(dir_or_id), str(base or dir_or_id)
    hub: dict[str, Any] = {"revision": None, "trust_remote_code": trust_remote_code}
    if packed := gguf_of(root):
        root, hub["gguf_file"] = packed
    return ProbeModel(empty_network(config, root, trust_remote_code), *_readers(source, root, config, hub))


def empty_network(config: Any, source: str, trust_remote_code: bool) -> Any:
    """The network of a configuration, on torch's meta device."""
    made = _class_for(config, source, trust_remote_code)
    with torch.device("meta"):
        return made.from_config(config, trust_remote_code=trust_remote_code).eval()


def load_tokenizer(
    dir_or_id: str | Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    gguf_file: str | None = None,
) -> Any:
    """The tokenizer of a model, as `load_model` loads it; of a GGUF file, where none lies beside it.

    Raises
    ------
    InputError
        None that can be loaded.
    """
    home = str(dir_or_id)
    try:
        # A directory that says it holds a plain fast tokenizer is taken at its word: for some architectures
        # AutoTokenizer builds the family's own instead, which splits texts otherwise.
        file = _file(home, "tokenizer_config.json", revision)
        plain = file is not None and json.loads(file.read_text()).get("tokenizer_class") in PLAIN
        kind: Any = PreTrainedTokenizerFast if plain else AutoTokenizer
        hub: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
        return kind.from_pretrained(home, **hub, **({} if file else {"gguf_file": gguf_file}))
    except (OSError, ValueError, ImportError, KeyError, AttributeError) as error:
        raise InputError(
            f"{home} has no tokenizer that can be loaded ({_first_line(error)}). Save it there with "
            "tokenizer.save_pretrained."
        ) from error


def refuse_no_model(source: str, trust_pickle: bool) -> None:
    """Say what is wrong with a directory; ids of the hub pass."""
    folder = Path(source)
    if gguf_of(source):
        return
    if not folder.is_dir():
        if folder.exists() or folder.is_absolute() or source.startswith((".", "~")) or source.count("/") > 1:
            raise InputError(
                f"{source} is no folder. Give the directory of a model, or an id such as owner/name."
            )
        return
    held = sorted(p.name for p in folder.iterdir())
    if not {"config.json", "adapter_config.json"} & set(held):
        raise InputError(
            f"{source} is no model: it has no config.json (it holds {', '.join(held[:8]) or 'nothing'}). Give a "
            "directory written by save_pretrained."
        )
    if any(name.endswith(".safetensors") for name in held):
        return
    pickles = [name for name in held if name.endswith((".bin", ".pt", ".pth"))]
    if not pickles:
        raise InputError(f"{source} holds no weights; save the model with save_pretrained.")
    if not trust_pickle:
        raise InputError(
            f"{source} has its weights only as pickles ({', '.join(pickles[:3])}), which can run code. Save it as "
            "safetensors, or say trust_pickle=True if you know where it comes from."
        )


def gguf_of(source: str) -> tuple[str, str] | None:
    """Folder and name of a GGUF file, or of the only one that a folder holds beside no other model."""
    place = Path(source)
    if place.suffix.lower() == ".gguf" and place.is_file():
        return str(place.parent), place.name
    if not place.is_dir() or any((place / name).is_file() for name in ("config.json", "adapter_config.json")):
        return None
    files = sorted(place.glob("*.gguf"))
    if len(files) > 1:
        raise InputError(
            f"{source} holds {len(files)} GGUF files ({_some([f.name for f in files])}); name one of them."
        )
    return (source, files[0].name) if files else None


def _method(quantised: Any) -> str:
    """How a model is quantised, as its configuration says."""
    said = quantised.get if isinstance(quantised, dict) else lambda name: getattr(quantised, name, None)
    method = said("quant_method")
    return str(getattr(method, "value", method))


def _adapter(source: str, revision: str | None) -> dict[str, Any] | None:
    """What ``adapter_config.json`` says, or None if there is none."""
    file = _file(source, "adapter_config.json", revision)
    try:
        return json.loads(file.read_text()) if file else None
    except ValueError as error:
        raise InputError(
            f"{file} is no JSON ({error}); save the adapter again with save_pretrained."
        ) from error


def _file(source: str, name: str, revision: str | None) -> Path | None:
    """A file of a directory or of a model on the hub, if there is one."""
    if Path(source).is_dir():
        return Path(source) / name if (Path(source) / name).is_file() else None
    from transformers.utils import cached_file

    try:
        found = cached_file(
            source,
            name,
            revision=revision,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
    except OSError:
        return None
    return Path(found) if found else None


def _class_for(config: Any, source: str, trust_remote_code: bool) -> Any:
    sees = hasattr(config, "vision_config") and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    if sees:
        return AutoModelForImageTextToText
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING or (
        trust_remote_code and getattr(config, "auto_map", None)
    ):
        return AutoModelForCausalLM
    raise InputError(
        f"{source} is a {config.model_type} model, which writes no text. Give a causal language model or an "
        "image-text model."
    )


def _readers(source: str, root: str, config: Any, hub: dict[str, Any]) -> tuple[Any, Any, str, str]:
    """Tokenizer, processor, source, and why there is no processor; those of an adapter where it has its own."""
    home = source if source == root or (Path(source) / "tokenizer_config.json").is_file() else root
    tokenizer = load_tokenizer(home, **hub)
    if not hasattr(config, "vision_config"):
        return tokenizer, None, source, ""
    # A model without a processor still reads text; rows with images are refused when they come.
    try:
        processor = AutoProcessor.from_pretrained(home, **hub)
    except (OSError, ValueError, ImportError, AttributeError) as error:
        return tokenizer, None, source, " ".join(str(error).split())
    if not hasattr(processor, "tokenizer"):
        return tokenizer, None, source, f"{home} has no processor_config.json."
    processor.tokenizer = tokenizer
    return tokenizer, processor, source, ""


def _architecture(config: Any) -> Any:
    """A configuration without what differs between a model in memory and the same one loaded."""
    if not isinstance(config, dict):
        return config
    return {
        k: _architecture(v) for k, v in config.items() if k not in ("_name_or_path", "dtype", "torch_dtype")
    }


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
