"""The review sheet of failures: a CSV to fill in, and a page with the images that fills it in by key or by click.

Neither shows the class that the rules gave, nor the benchmark or the rule: the reader is blind.
"""

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pandas as pd
from markupsafe import Markup

from vialign.analysis.failures.review import KEYS, LABEL, LABEL_MEANINGS, sheet_text
from vialign.errors import UserError
from vialign.files.artifacts import write_text
from vialign.progress import track
from vialign.report.blocks import part
from vialign.report.pictures import Album

SHEET, PAGE, NOTE = "sheet.csv", "review.html", "README.txt"
SIDE = 420
"""Longest side of an image on the page, pixels."""

_NOTE = """A review sheet of failed queries.

Open {page} in a browser: it shows the images, takes a label by key or click, and saves a filled-in sheet.
Or fill in the column `{label}` of {sheet} by hand. A label is one of:
{labels}
Leave a cell empty where you cannot tell. Two people label their own copies; the file's name stands for the person.
Then: vialign failures import RESULTS SHEET [SHEET]
"""


def export_sheet(sample: pd.DataFrame, files_of_images: Mapping[str, str], album: Album, folder: Path) -> int:
    """Write sheet, page and note about sampled FAILURES rows into a new folder; the number of images not found.

    `files_of_images` gives the path of each image as the run's table has it. Raises UserError when the folder holds
    something already: a filled-in sheet must not be lost.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: exists and is not empty; name a new folder")
    sheet = pd.DataFrame(
        {
            "number": range(1, len(sample) + 1),
            **{key: sample[key] for key in KEYS},
            "task": ["find the image" if rival == "image" else "find the text" for rival in sample["rival"]],
            "right_text": sample["true_text"],
            "right_image": sample["image_id"].map(files_of_images),
            "chosen_text": sample["chosen_text"],
            "chosen_image": sample["chosen_image"].map(files_of_images),
            LABEL: "",
            "remark": "",
        }
    )
    write_text(sheet_text(sheet), folder / SHEET)
    labels = "".join(f"  {name}: {meaning}\n" for name, meaning in LABEL_MEANINGS.items())
    write_text(_NOTE.format(page=PAGE, sheet=SHEET, label=LABEL, labels=labels), folder / NOTE)
    page, missing = review_page(sample, album)
    write_text(page, folder / PAGE)
    return missing


def review_page(sample: pd.DataFrame, album: Album) -> tuple[str, int]:
    """The page as text, self-contained and without a network, and how many of its images were not found."""
    needed = sample["image_id"].tolist() + sample.loc[sample["rival"] == "image", "chosen_image"].tolist()
    pictures = {name: album.thumbnail(name, SIDE) for name in track(list(dict.fromkeys(needed)), "images of the sheet")}
    templates = files("vialign.report") / "templates"
    script = (templates / "review_sheet.js").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    page = part(
        "review_sheet.html.j2",
        rows=sample.to_dict("records"),
        pictures=pictures,
        keys=KEYS,
        label=LABEL,
        labels=LABEL_MEANINGS,
        style=Markup((templates / "style.css").read_text(encoding="utf-8").strip()),
        script=Markup(script),
        script_digest=f"sha256-{digest}",
    )
    return page, sum(picture is None for picture in pictures.values())
