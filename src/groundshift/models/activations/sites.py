"""The places of a network whose states can be read or changed, by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from groundshift.errors import InputError
from groundshift.models.activations.loading import ProbeModel

__all__ = ["Site", "find_sites"]

BY_BLOCK = ("resid_pre", "resid_post", "attn_out", "mlp_out")
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "linear_attn", "mixer")
MLP = ("mlp", "feed_forward", "ffn", "block_sparse_moe", "moe", "feedforward")
NORM = (
    "norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "final_norm", "embedding_norm", "ln_out",
    "out_norm",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """One place: the output of a module, or what goes into it.

    Attributes
    ----------
    name : canonical, with the block counted from 0: ``resid_post.3``
    module : the user's own
    before : the state is the module's first input, not its output
    """

    name: str
    module: nn.Module
    before: bool

    def hook(self, visit: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``visit`` with the state, shape (B, T, D), at every pass; what it returns, if anything, replaces it."""
        if self.before:

            def pre(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                if args:
                    new = visit(args[0])
                    return None if new is None else ((new, *args[1:]), kwargs)
                new = visit(kwargs["hidden_states"])
                return None if new is None else (args, {**kwargs, "hidden_states": new})

            return self.module.register_forward_pre_hook(pre, with_kwargs=True)

        def post(_module: nn.Module, _args: Any, output: Any) -> Any:
            # Blocks return a tensor in transformers 5, a tuple with the tensor first before; attention still does.
            state = output[0] if isinstance(output, tuple) else output
            new = visit(state)
            return new if new is None or not isinstance(output, tuple) else (new, *output[1:])

        return self.module.register_forward_hook(post)


def find_sites(model: ProbeModel, names: str | Sequence[str]) -> list[Site]:
    """The places that the names mean.

    ``embed`` (output of the embedding module; images and absolute positions join later: ``resid_pre.0``),
    ``resid_pre.L``, ``resid_post.L``, ``attn_out.L``, ``mlp_out.L`` and ``final_norm``. L counts blocks from 0 and may
    be negative, a range as in Python (``4:12``) or ``all``. ``resid_post.L`` is the output of a block, which
    ``output_hidden_states[L + 1]`` of transformers is, too, except for the last, which transformers gives after the
    final norm.

    Raises
    ------
    InputError
        A name that is none of these, a block that the model does not have, a module that is not found (its neighbours
        are named).
    """
    sites_by_name: dict[str, Site] = {}
    for name in [names] if isinstance(names, str) else names:
        for site in _named(model, name):
            sites_by_name[site.name] = site
    return list(sites_by_name.values())


def _named(model: ProbeModel, name: str) -> list[Site]:
    if name == "embed":
        return [Site(name, model.net.get_input_embeddings(), False)]
    if name == "final_norm":
        return [Site(name, _child(model.decoder, NORM, name), False)]
    kind, _, where = name.partition(".")
    if kind not in BY_BLOCK or not where:
        raise InputError(
            f"There is no site {name!r}; choose embed, final_norm, or {', '.join(f'{k}.L' for k in BY_BLOCK)} with a "
            "block L (0, -1, 4:12, all)."
        )
    sites = []
    for number in _blocks(where, len(model.layers), name):
        block = model.layers[number]
        module = block
        if kind in ("attn_out", "mlp_out"):
            module = _child(block, ATTENTION if kind == "attn_out" else MLP, name)
        sites.append(Site(f"{kind}.{number}", module, kind == "resid_pre"))
    return sites


def _blocks(where: str, depth: int, name: str) -> list[int]:
    if where == "all":
        return list(range(depth))
    if match := re.fullmatch(r"(-?\d*):(-?\d*)", where):
        low, high = (int(g) if g not in ("", "-") else None for g in match.groups())
        blocks = list(range(depth))[low:high]
    else:
        try:
            number = int(where)
        except ValueError:
            raise InputError(
                f"The site {name!r} has no block {where!r}; give a number, a range or all."
            ) from None
        blocks = [number % depth] if -depth <= number < depth else []
    if not blocks:
        raise InputError(f"The site {name!r} has no block: the model has {depth}, 0 to {depth - 1}.")
    return blocks


def _child(module: nn.Module, names: Sequence[str], site: str) -> nn.Module:
    children = dict(module.named_children())
    for name in names:
        if name in children:
            return children[name]
    raise InputError(
        f"The site {site!r} was not found in {type(module).__name__}, whose parts are {', '.join(children)}; known "
        f"names are {', '.join(names)}."
    )
