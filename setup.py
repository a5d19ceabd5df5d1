"""What pyproject.toml cannot say: the wheel carries the workflow too, from which `vialign init` makes a run."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

CARRIED = (
    "Snakefile",
    "config.yaml",
    "configs",
    "envs",
    "profiles",
    "workflow/report",
    "workflow/rules",
    "workflow/scripts",
)
"""Files and folders at the root of the repository that lie in `vialign/project/` of the wheel."""


def carried() -> list[str]:
    """Every file of them, relative to the root."""
    files = [file for name in CARRIED for file in [Path(name), *Path(name).rglob("*")] if file.is_file()]
    return sorted(file.as_posix() for file in files if "__pycache__" not in file.parts)


class BuildWithWorkflow(build_py):
    """Packs the files beside the modules; an editable install reads those of the clone."""

    def run(self) -> None:
        """Build the modules, then add the files."""
        super().run()
        if self.editable_mode:
            return
        for file in carried():
            target = Path(self.build_lib, "vialign", "project", file)
            self.mkpath(str(target.parent))
            self.copy_file(file, str(target))

    def get_source_files(self) -> list[str]:
        """What a source distribution must hold, so that a wheel can be built from it."""
        return [*super().get_source_files(), *carried()]


setup(cmdclass={"build_py": BuildWithWorkflow})
