"""`vialign init FOLDER`: a folder for a run of the pipeline, without a clone of the repository."""

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from vialign.cli.errors import one_line_errors
from vialign.errors import require
from vialign.files.folders import new_folder
from vialign.files.paths import Output, check_paths

TEMPLATE = files("vialign.cli") / "project.yaml"
"""The config.yaml of a new folder: the default experiment, and where to write one's own."""
_PACKAGE = Path(str(files("vialign")))
_PROJECT = _PACKAGE / "project" if (_PACKAGE / "project").is_dir() else _PACKAGE.parents[1]
"""Where the workflow lies: the wheel carries it (setup.py); in a clone it is at the root."""
SNAKEFILE = str(_PROJECT / "Snakefile")
"""The workflow of the installed package, which the Snakefile of a folder includes."""
CONFIG, FOLDERS = "config.yaml", ("configs", "profiles")
"""What is written into the folder, and is the user's own from then on."""
_INCLUDING = f"""\
# The workflow of the installed vialign: it changes when the package does. config.yaml beside it says what is run.
from {__name__} import SNAKEFILE


include: SNAKEFILE


workflow.default_target = "all"  # an included file does not set it
"""


def init(folder: Annotated[Path, typer.Argument(help="New folder.")]) -> None:
    """Make a folder for a run on your own data, without a clone: a Snakefile, config.yaml, further configs, profiles.

    Nothing is asked. The folder works as it stands, on drawn pictures; comments in config.yaml say where to write your
    pictures, captions, model and treebank.

    Example: `vialign init my_run`
    """
    with one_line_errors():
        require("snakemake", "pipeline", "a run")
        write_project(folder)
        print(
            f"{folder}: ready; run it from there with `snakemake --cores all all`, on drawn pictures first; "
            "config.yaml there says where to write your own"
        )


def write_project(folder: Path) -> None:
    """Write the Snakefile and what a user changes into `folder`, which appears only when it is complete.

    Raises UserError when the folder is not empty or cannot be written.
    """
    check_paths([Output("FOLDER", folder, None)], {})
    with new_folder(folder, "the run") as temporary:
        for name in FOLDERS:
            shutil.copytree(_PROJECT / name, temporary / name)
        (temporary / CONFIG).write_text(TEMPLATE.read_text(encoding="utf-8"), encoding="utf-8")
        (temporary / "Snakefile").write_text(_INCLUDING, encoding="utf-8")
