"""A small folder of drawn images with captions, to try the tool out on."""

import csv
import io
from pathlib import Path

from vialign.data.scenes.captions import scene_captions, tree_text
from vialign.data.scenes.draw import draw_scene
from vialign.data.scenes.sampling import sample_scenes
from vialign.errors import UserError
from vialign.files.artifacts import atomic_path, write_text
from vialign.progress import track
from vialign.random import generator


def draw_example(folder: str | Path, images: int = 240, seed: int = 0) -> Path:
    """Draw scenes of shapes as `images/*.png` with five captions each in `captions.csv`, whose path is the result.

    The demo backbone `vialign-scenes` was trained on such scenes (others than these), so its signal means something
    here. Raises UserError when the folder already holds images or a file of captions.

    >>> captions = draw_example("drawn", images=2)
    >>> print(captions.read_text().splitlines()[0])
    image,caption
    >>> sorted(path.name for path in captions.parent.joinpath("images").iterdir())
    ['00000.png', '00001.png']
    """
    folder = Path(folder)
    captions = folder / "captions.csv"
    for place in (captions, folder / "images"):
        if place.exists() and not (place.is_dir() and next(place.iterdir(), None) is None):
            raise UserError(f"{place}: exists; choose another folder for the example")
    random = generator(seed, "toolkit example")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "caption"])
    for number, (scene, _) in enumerate(track(sample_scenes(random, images), "drawing", total=images)):
        name = f"{number:05d}.png"
        with atomic_path(folder / "images" / name) as temporary:
            draw_scene(scene).save(temporary, format="PNG")
        writer.writerows([name, tree_text(tree)] for tree in scene_captions(random, scene))
    write_text(text.getvalue(), captions)
    return captions
