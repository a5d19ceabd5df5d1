"""The real workflow with stand-ins for its scripts: every rule, gate and file, and next to no work in them."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = ROOT / "configs/tiny.yaml"

ANY = """
from pathlib import Path
assert not [name for name in snakemake.input if not Path(name).exists()]
for name in [*snakemake.output, *snakemake.log]:
    path = Path(name) if Path(name).suffix else Path(name, "part")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(str(item) for item in snakemake.input))
"""
"""Makes what its rule promises, out of inputs that are there; every file, in a folder or not, holds their names."""

GATE = (
    ANY
    + """
import pandas as pd
from vialign.files.artifacts import write_table
from vialign.config.experiment import load_config
from vialign.tables.gates import VERDICT
config = load_config(snakemake.config)
gate = snakemake.rule.removesuffix("_gate")
met = gate == "budget" and config.budget.parameters > 0.5 and config.curriculum.head_rank < 1000
action = "go" if met else getattr(config.gates, gate).action
row = {"gate": gate, "criterion": "one", "value": 0.0, "low": 0.0, "high": 0.0, "threshold": 0.0, "met": met}
row |= {"required": True, "undecided": False, "evidence": "none", "reason": "none", "action": action}
write_table(pd.DataFrame([row]), VERDICT, snakemake.output[0], {})
"""
)
"""Its one criterion is not met, but that of the budget where the limit is high and the head small."""

ABLATION = (
    ANY
    + """
import pandas as pd
from vialign.files.artifacts import write_table
from vialign.tables.gates import ABLATION
row = {"reweight": True, "regularise": True, "correct": True, "recall": 0.5, "negatives": 0.5, "score": 0.5}
row |= {"low": 0.4, "high": 0.6, "path": 0}
rows = [row | {"method": "vialign", "chosen": False}, row | {"method": "vialign-reweight", "chosen": True}]
write_table(pd.DataFrame(rows), ABLATION, snakemake.output.ablation, {})
"""
)


@dataclass(frozen=True)
class Workflow:
    """The workflow with stand-ins, in a folder of its own, and the Python that runs it."""

    python: str
    tree: Path

    def command(self, folder: Path, *arguments: str) -> list[str]:
        """A call of Snakemake with `folder` as its working directory."""
        base = [self.python, "-m", "snakemake", "--snakefile", str(self.tree / "Snakefile")]
        return [*base, "--directory", str(folder), "--cores", "2", "--configfile", str(TINY), *arguments]

    def call(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `command` to its end."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            self.command(folder, *arguments), capture_output=True, text=True, env=environment, check=False, cwd=folder
        )


def make_workflow(python: str, folder: Path) -> Workflow:
    """The workflow in `folder`, with stand-ins."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("workflow", "profiles/default", "envs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("scripts", "__pycache__"))
    scripts = folder / "workflow/scripts"
    scripts.mkdir()
    for script in (ROOT / "workflow/scripts").glob("*.py"):
        text = GATE if script.stem.endswith("_gate") else ABLATION if script.stem == "ablation" else ANY
        (scripts / script.name).write_text(text, encoding="utf-8")
    return Workflow(python, folder)
