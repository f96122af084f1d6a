"""Two tiny models that see 24-pixel grey images, trained in seconds: one like CLIP, and one that reads examples.

Both know images by the classes and the source domains that they were trained on, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ClipTiny", "Domains", "ExampleReader", "train_clip", "train_reader"]

WIDTH = 48
Domains = Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]]
"""Of each source domain, images (n, 24, 24) and their classes (n,)."""


def _encoder() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 48)):
        layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 9, WIDTH))


def _tensor(images: NDArray[np.floating]) -> Tensor:
    return torch.as_tensor(np.asarray(images, np.float32))[:, None]


class ClipTiny(nn.Module):
    """An image encoder and a text encoder into one space; a caption is a class and a domain, or a class and a blank.

    Parameters
    ----------
    classes, domains : numbers of words
    """

    def __init__(self, classes: int, domains: int) -> None:
        super().__init__()
        self.classes, self.see = classes, _encoder()
        self.words = nn.Embedding(classes + domains + 1, WIDTH)
        self.read = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.scale = nn.Parameter(torch.tensor(2.5))

    def texts(self, captions: Tensor) -> Tensor:
        """Unit vectors of captions (n, 2)."""
        return nn.functional.normalize(self.read(self.words(captions).mean(1)), dim=-1)

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        """Logits (images, captions)."""
        seen = nn.functional.normalize(self.see(images), dim=-1)
        return self.scale.exp() * seen @ self.texts(captions).T

    @torch.no_grad()
    def shares(self, images: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability of each class, (n, classes), by its name with a blank."""
        blank = torch.full((self.classes,), len(self.words.weight) - 1)
        logits = self(_tensor(images), torch.stack([torch.arange(self.classes), blank], 1))
        return logits.softmax(1).double().numpy()


class ExampleReader(nn.Module):
    """A transformer over slots: labelled images, and a query last.

    Parameters
    ----------
    classes : number of labels
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.see, self.labels, self.kind = _encoder(), nn.Embedding(classes, WIDTH), nn.Embedding(2, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, 0.0, batch_first=True, norm_first=True)
        self.mix = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Logits (n, classes) of the last of images (n, k + 1, 24, 24), with labels (n, k) of the ones before."""
        n, slots = images.shape[:2]
        seen = self.see(images.reshape(n * slots, 1, *images.shape[2:])).reshape(n, slots, WIDTH)
        shown = seen[:, :-1] + self.labels(labels) + self.kind.weight[0]
        query = seen[:, -1:] + self.kind.weight[1]
        return self.head(self.mix(torch.cat([shown, query], 1))[:, -1])

    @torch.no_grad()
    def shares(self, images: NDArray[np.floating], labels: Sequence[int] = ()) -> NDArray[np.float64]:
        """Probability of each label for the last of images (k + 1, 24, 24)."""
        shown = torch.as_tensor(list(labels), dtype=torch.long)[None]
        return self(_tensor(images)[None, :, 0], shown)[0].softmax(0).double().numpy()


@torch.random.fork_rng()
def train_clip(domains: Domains, *, classes: int, steps: int = 400, seed: int = 0) -> ClipTiny:
    """A `ClipTiny` by the symmetric contrastive loss over 48 images a step; captions that are equal share their target.

    Half of the captions name the domain.
    """
    torch.manual_seed(seed)
    rng, net = np.random.default_rng(seed), ClipTiny(classes, len(domains))
    images, label = (np.concatenate(parts) for parts in zip(*domains, strict=True))
    domain = np.repeat(np.arange(len(domains)), [len(one[1]) for one in domains])

    def loss(_: int) -> Tensor:
        drawn = rng.integers(len(label), size=48)
        second = np.where(rng.random(48) < 0.5, domain[drawn], len(domains)) + classes
        captions = torch.as_tensor(np.stack([label[drawn], second], 1))
        logits = net(_tensor(images[drawn]), captions)
        same = (captions[:, None] == captions[None]).all(2).float()
        target = same / same.sum(1, keepdim=True)
        both = [nn.functional.cross_entropy(one, target) for one in (logits, logits.T)]
        return torch.stack(both).mean()

    return _trained(net, loss, steps)


@torch.random.fork_rng()
def train_reader(domains: Domains, *, classes: int, steps: int = 500, seed: int = 0) -> ExampleReader:
    """An `ExampleReader` on 24 episodes a step, each of one domain: a third without examples, two thirds with one of
    each class, whose labels are permuted in seven of ten, so that they have to be read.
    """
    torch.manual_seed(seed)
    rng, net, size = np.random.default_rng(seed), ExampleReader(classes), 24
    images = np.concatenate([own for own, _ in domains])
    starts = np.cumsum([0, *(len(label) for _, label in domains)])
    pools = [[start + np.flatnonzero(label == k) for k in range(classes)]
             for start, (_, label) in zip(starts, domains, strict=False)]  # fmt: skip

    def loss(step: int) -> Tensor:
        query, domain = rng.integers(classes, size=size), rng.integers(len(domains), size=size)
        last = np.array([rng.choice(pools[d][k]) for d, k in zip(domain, query, strict=True)])
        order = rng.permuted(np.tile(np.arange(classes), (size, 1)), axis=1)
        names = np.tile(np.arange(classes), (size, 1))
        if step % 3:
            names = np.where(rng.random((size, 1)) < 0.7, rng.permuted(names, axis=1), names)
        else:
            order = order[:, :0]
        shown = np.array(
            [[rng.choice(pools[d][k]) for k in row] for d, row in zip(domain, order, strict=True)], int
        )
        places = np.concatenate([shown.reshape(size, -1), last[:, None]], 1)
        labels = torch.as_tensor(np.take_along_axis(names, order, 1))
        logits = net(torch.as_tensor(images[places]), labels)
        return nn.functional.cross_entropy(logits, torch.as_tensor(names[np.arange(size), query]))

    return _trained(net, loss, steps)


def _trained(net: Any, loss: Callable[[int], Tensor], steps: int) -> Any:
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=max(steps, 2))
    for step in range(steps):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
        schedule.step()
    return net.eval()
