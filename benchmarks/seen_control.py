"""Can relations that boxes do not decide be read off the pixels at all? The positive control of `configs/seen.yaml`.

    python benchmarks/seen_control.py                 # some ten minutes of a core
    python benchmarks/seen_control.py --scenes 2000 --epochs 2

A small convolutional network is taught the relations of drawn scenes, from the pixels and the boxes of two things, and
answers the items of `seen_roles`, `seen_relation` and `seen_object` on scenes of another seed. The same network without
the pixels is the negative control: it has the boxes alone. Prints a Markdown table with 95 % intervals (Wilson).
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from vialign.data.scenes import benchmarks
from vialign.data.scenes.benchmarks import Shown
from vialign.data.scenes.captions import statement
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes
from vialign.data.scenes.world import IMAGE_SIZE, SEEN, Scene, true_of
from vialign.progress import track

BATCH, RATE = 64, 2e-3
SIDE = IMAGE_SIZE // 2
"""Of the pictures that the network is shown: half of those that are drawn, for time."""
FORMS = {form.__name__: form for form in (benchmarks.seen_roles, benchmarks.seen_relation, benchmarks.seen_object)}
Pair = tuple[int, int, int]
"""Scene, and two of its things in their order."""
Statement = tuple[int, str, int]


@dataclass(frozen=True)
class Drawn:
    """Scenes whose main relation is one that boxes do not decide."""

    scenes: Sequence[Scene]
    pixels: Tensor
    """uint8, (scene, 3, side, side)."""

    def inputs(self, pairs: Sequence[Pair], see: bool) -> Tensor:
        """(pair, 5, side, side): the pixels, of which nothing is left where `see` is false, and a mask of each box."""
        made = torch.zeros(len(pairs), 5, SIDE, SIDE)
        for row, (scene, *things) in enumerate(pairs):
            if see:
                made[row, :3] = self.pixels[scene] / 127.5 - 1
            for channel, number in enumerate(things, start=3):
                thing = self.scenes[scene].things[number]
                left, top = ((centre - thing.size / 2) * SIDE / IMAGE_SIZE for centre in (thing.x, thing.y))
                right, bottom = (edge + thing.size * SIDE / IMAGE_SIZE for edge in (left, top))
                made[row, channel, max(0, round(top)) : round(bottom), max(0, round(left)) : round(right)] = 1
        return made

    def labels(self, pairs: Sequence[Pair]) -> Tensor:
        """(pair, relation of `SEEN`): 1 where it holds from the first thing to the second."""
        rows = [[float(true_of(self.scenes[scene], i, name, j)) for name in SEEN] for scene, i, j in pairs]
        return torch.tensor(rows)


def draw(rng: np.random.Generator, count: int, what: str) -> Drawn:
    """So many scenes, and their pictures."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        drawn = (scene for scene, _ in sample_scenes(rng, count, seen=True))
        scenes += [scene for scene in drawn if scene.main is not None and scene.main[1] in SEEN]
    scenes = scenes[:count]
    pictures = (
        np.asarray(draw_scene(scene).reduce(IMAGE_SIZE // SIDE))
        for scene in track(scenes, f"drawing {what}", total=count)
    )
    return Drawn(scenes, torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2).contiguous())


class Reader(nn.Module):
    """Whether each relation of `SEEN` holds: convolutions, means over both boxes, maxima near them, and two layers."""

    def __init__(self) -> None:
        super().__init__()
        sizes, kernels = (5, 32, 48, 64), (5, 3, 3)
        layers: list[nn.Module] = []
        for into, out, kernel in zip(sizes[:-1], sizes[1:], kernels, strict=True):
            layers += [nn.Conv2d(into, out, kernel, stride=2, padding=kernel // 2), nn.BatchNorm2d(out), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Linear(6 * sizes[-1], 64), nn.ReLU(), nn.Linear(64, len(SEEN)))

    def forward(self, inputs: Tensor) -> Tensor:
        """(pair, relation): the logits of (pair, 5, side, side)."""
        found = self.convolutions(inputs)
        boxes = nn.functional.adaptive_avg_pool2d(inputs[:, 3:], found.shape[-2:])
        weights = boxes / boxes.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
        means = torch.einsum("pchw,pbhw->pbc", found, weights).flatten(1)
        # An arrow ends short of the box that it points at.
        near = nn.functional.max_pool2d((boxes > 0).float(), 3, stride=1, padding=1)
        maxima = (found[:, None] * near[:, :, None]).amax(dim=(3, 4)).flatten(1)
        return self.head(torch.cat([means, maxima, found.mean(dim=(2, 3)), found.amax(dim=(2, 3))], dim=1))


def pairs_of(scene: Scene) -> list[tuple[int, int]]:
    """The main pair in both orders, and its first thing with every other."""
    i, _, j = scene.main  # type: ignore[misc]
    return [(i, j), (j, i), *((i, k) for k in range(len(scene.things)) if k not in (i, j))]


def teach(drawn: Drawn, epochs: int, see: bool, rng: np.random.Generator) -> Reader:
    """A network that was shown all pairs so many times, at a rate that falls to zero."""
    torch.manual_seed(0)
    reader = Reader()
    pairs = [(number, i, j) for number, scene in enumerate(drawn.scenes) for i, j in pairs_of(scene)]
    steps = epochs * (len(pairs) // BATCH)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for batch in track(_batches(pairs, steps, rng), "teaching", total=steps):
        loss = nn.functional.binary_cross_entropy_with_logits(reader(drawn.inputs(batch, see)), drawn.labels(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return reader.eval()


def _batches(pairs: list[Pair], steps: int, rng: np.random.Generator) -> Iterator[list[Pair]]:
    while True:
        order = rng.permutation(len(pairs))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            if not steps:
                return
            steps -= 1
            yield [pairs[k] for k in order[start : start + BATCH]]


def said(scene: Scene) -> dict[str, Statement]:
    """What the diagnostics may say of a scene, by their words."""
    things = range(len(scene.things))
    return {
        statement(scene.things[i], name, scene.things[j]): (i, name, j)
        for i in things
        for j in things
        if i != j
        for name in SEEN
    }


def items(scenes: Sequence[Scene], form: str) -> list[tuple[int, Statement, Statement]]:
    """The items of a diagnostic: the scene, the statement that holds and the one that does not."""
    shown = [Shown(str(number), scene) for number, scene in enumerate(scenes)]
    found = []
    for row in FORMS[form](shown, "test", len(shown)):
        number = int(row["images"][0])  # type: ignore[index]
        words = said(scenes[number])
        right, wrong = (words[text] for text in row["texts"])  # type: ignore[attr-defined]
        found.append((number, right, wrong))
    return found


def answered(
    scenes: Sequence[Scene], form: str, score: Callable[[list[tuple[int, Statement]]], np.ndarray]
) -> dict[str, tuple[int, int]]:
    """How many items a score answers, a tie as no answer, and of how many: by the relation that holds, and of all."""
    asked = items(scenes, form)
    right = score([(scene, holds) for scene, holds, _ in asked])
    wrong = score([(scene, fails) for scene, _, fails in asked])
    told = pd.DataFrame({"relation": [holds[1] for _, holds, _ in asked], "right": right > wrong})
    counts = told.groupby("relation")["right"].agg(["sum", "size"]).astype(int)
    return {
        "all": (int(told["right"].sum()), len(told)),
        **{str(row.Index): tuple(row[1:]) for row in counts.itertuples()},
    }


@torch.inference_mode()
def network_score(reader: Reader, drawn: Drawn, see: bool, asked: list[tuple[int, Statement]]) -> np.ndarray:
    """The network's logits of these statements."""
    found = []
    for start in range(0, len(asked), 4 * BATCH):
        block = asked[start : start + 4 * BATCH]
        logits = reader(drawn.inputs([(number, i, j) for number, (i, _, j) in block], see))
        found += [float(row[SEEN.index(name)]) for row, (_, (_, name, _)) in zip(logits, block, strict=True)]
    return np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=8000, help="scenes that the network is taught with")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--test", type=int, default=1500, help="scenes of another seed that it is asked about")
    told = parser.parse_args()
    torch.set_num_threads(1)
    taught = draw(np.random.default_rng(1), told.scenes, "scenes to teach")
    test = draw(np.random.default_rng(2), told.test, "scenes to ask about")
    print("| what the network has | diagnostic | relation | items | right, % | 95 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    for what, see in (("boxes alone", False), ("pixels and boxes", True)):
        reader = teach(taught, told.epochs, see, np.random.default_rng(3))
        for form in FORMS:
            for relation, (right, asked) in answered(
                test.scenes, form, partial(network_score, reader, test, see)
            ).items():
                between = binomtest(right, asked).proportion_ci(method="wilson")
                shown = f"{100 * right / asked:.1f} | {100 * between.low:.1f} to {100 * between.high:.1f}"
                print(f"| {what} | `{form}` | {relation} | {asked} | {shown} |")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
