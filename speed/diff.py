"""Peak memory and time of ``groundshift diff``, beside one model that reads the same prompts and both held at once.

A random Llama of 110 million weights in float32; as tunes of it a copy with a small change of every weight, and a LoRA
adapter. Everything runs in a process of its own, of which the system tells the largest resident memory; what Python and
its imports take is measured in the same way and taken off.

Run: OMP_NUM_THREADS=1 python speed/diff.py
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
WORDS, PROMPTS, LENGTH, NEW = 32_000, 8, 24, 4


def make(place: Path) -> None:
    """The base, its two tunes, prompts and preference pairs."""
    import numpy as np
    import torch
    from peft import LoraConfig, get_peft_model
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {"<pad>": 0, "<unk>": 1, "<eos>": 2, **{f"w{i}": i for i in range(3, WORDS)}}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=768, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=12,
        max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    net = LlamaForCausalLM(config)
    for name in ("base", "tuned"):
        net.save_pretrained(place / name)
        tokenizer.save_pretrained(place / name)
        with torch.no_grad():
            for weight in net.parameters():
                weight += 0.002 * torch.randn_like(weight)
    adapted = get_peft_model(net, LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight += 0.02 * torch.randn_like(weight)
    adapted.save_pretrained(place / "adapter")

    rng = np.random.default_rng(0)

    def text(length):
        return " ".join(f"w{k}" for k in rng.integers(3, WORDS, length))

    prompts = [{"prompt": text(LENGTH)} for _ in range(PROMPTS)]
    pairs = [row | {"chosen": f" {text(8)}", "rejected": f" {text(8)}"} for row in prompts]
    for name, rows in (("prompts", prompts), ("pairs", pairs)):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def child(what: str, place: Path) -> None:
    """What runs in a process: making the models; imports alone, models that read the prompts, or the command."""
    if what == "make":
        return make(place)
    import torch

    import groundshift.workflows.diff  # noqa: F401
    from groundshift.lab.cli import main
    from groundshift.models.activations import encode, load_model, read_rows
    from groundshift.models.activations.rows import collate

    if what in ("one", "both"):
        models = [load_model(place / name) for name in ("base", "tuned")[: 1 + (what == "both")]]
        with torch.inference_mode():
            for model in models:
                model.net(**collate(model, encode(model, read_rows(place / "prompts.jsonl"))).inputs)
    elif what != "imports":
        given = [f"--{name}={place / name}.jsonl" for name in ("prompts", "pairs")]
        sys.argv = ["groundshift", "diff", str(place / "base"), str(place / what), *given]
        sys.argv += [f"--max-new-tokens={NEW}", f"--out={place / 'out' / what}", "--quiet"]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
    if torch.cuda.is_available():
        print(torch.cuda.max_memory_allocated())


def measured(what: str, place: Path) -> tuple[float, float, float]:
    """Largest resident memory and largest CUDA memory of a process, in GB, and its seconds."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, what, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{what}: exit status {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return used.ru_maxrss * unit / 1e9, float(printed or 0) / 1e9, time.perf_counter() - began


def report() -> None:
    with TemporaryDirectory() as folder:
        place = Path(folder)
        measured("make", place)  # not here: a process begins with the memory of the one that starts it
        imports, _, started = measured("imports", place)
        one = 0.0
        for what, name in (
            ("one", "one model, prompts read"),
            ("both", "both models at once"),
            ("tuned", "groundshift diff, a full fine-tune"),
            ("adapter", "groundshift diff, a LoRA adapter"),
        ):
            memory, card, seconds = measured(what, place)
            one = one or memory - imports
            used = memory - imports
            print(
                f"{name}: {used:.2f} GB above the {imports:.2f} GB of imports, {used / one:.2f} times one model; "
                f"{seconds - started:.0f} s" + (f"; CUDA {card:.2f} GB" if card else "")
            )


if __name__ == "__main__":
    if sys.argv[1:]:
        child(sys.argv[1], Path(sys.argv[2]))
    else:
        report()
