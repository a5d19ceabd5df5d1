"""Which claims of the report's summary hold on every processor: the same experiment with other threads and kernels.

    python benchmarks/cross_kernel.py                                # the default experiment, a run for each of KERNELS
    python benchmarks/cross_kernel.py --configfile configs/tiny.yaml --cores 2
    python benchmarks/cross_kernel.py --compare results_kernels/*/   # compare what is there, run nothing

Every run is a whole run into a folder of its own, by the same config and seed; a second call goes on with what is
missing. Then every claim of the summary is read from each folder: the words of the headline and of the answers, what
each gate and each of its criteria decided, the chosen combination, and for every paired comparison whether it is
significant after Holm's correction, and in which direction. Prints a Markdown table of the claims with each run's word,
and exits with 1 when one differs. Numbers stand beside the words where they decide; they may differ.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import yaml
from markupsafe import Markup

from vialign.config.experiment import Config, load_config
from vialign.report import summary
from vialign.report.evidence import GATES, Evidence, read_evidence
from vialign.report.runs import CONFIG
from vialign.report.sections.answers import answers
from vialign.tables.gates import VERDICT

ROOT = Path(__file__).resolve().parents[1]

KERNELS: dict[str, dict[str, str]] = {
    "one thread": {"OMP_NUM_THREADS": "1"},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "no vector units": {"OMP_NUM_THREADS": "1", "ATEN_CPU_CAPABILITY": "default"},
    "compatible": {"OMP_NUM_THREADS": "1", "MKL_CBWR": "COMPATIBLE", "OPENBLAS_CORETYPE": "Prescott"},
}
"""The environment of each run: threads, the kernels of torch, and those of its and of numpy's matrix products."""

MEASURED = re.compile(r"<data (?:(?!data-derived)[^>])*>.*?</data>")
"""A number that is quoted from a table; counts of what is significant are derived, and stay."""
MAIN = "the method"
"""The method that the answer is about, whichever combination it is."""
MISSING = "—"


@dataclass(frozen=True)
class Claim:
    """What one run says: the word that must be the same in all, and the number behind it."""

    word: str
    number: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.number})" if self.number else self.word


def claims(results: Path, config: Config) -> dict[str, Claim]:
    """Every claim of the summary of one run, by what it is about.

    Raises UserError when the folder is missing or one of its tables is broken.
    """
    evidence = read_evidence(results, config)
    found = {"headline": Claim(summary.headline(evidence, config))}
    ablation = evidence.get("ablation")
    if ablation is not None:
        found["chosen combination"] = Claim(", ".join(ablation.loc[ablation["chosen"], "method"]))
    for badge in summary.badges(evidence):
        found[f"{badge.gate} gate"] = Claim(badge.words)
    for gate in GATES:
        found |= _criteria(evidence, gate)
    found |= _comparisons(evidence, config)
    found |= {f"solved without an image: {name}": Claim("yes") for name in sorted(summary.solved_blind(evidence))}
    for answer in answers(evidence, config)[:-1]:  # the last one says how to repeat the run, which is no claim
        for number, said in enumerate(answer.said, 1):
            found[f"{answer.question} ({number})"] = Claim(_words(said))
    return found


def _criteria(evidence: Evidence, gate: str) -> dict[str, Claim]:
    """Everything that a verdict decides of each criterion: its columns that hold flags or a closed list of words."""
    verdict = evidence.get(f"gate_{gate}")
    found: dict[str, Claim] = {}
    for _, row in pd.DataFrame() if verdict is None else verdict.iterrows():
        measured = "" if pd.isna(row["value"]) else f"{row['value']:.3g}"
        for name, column in VERDICT.columns.items():
            if name not in ("gate", "required", "action") and (column.type == pa.bool_() or column.values):
                word = {True: "yes", False: "no"}.get(row[name], str(row[name]))
                found[f"{gate} gate: {row['criterion']}: {name}"] = Claim(word, measured)
    return found


def _comparisons(evidence: Evidence, config: Config) -> dict[str, Claim]:
    """Of every paired comparison, whether it is significant, and in which direction."""
    comparisons, main = evidence.get("comparisons"), summary.main_method(evidence)
    found = {}
    for row in () if comparisons is None else comparisons.itertuples():
        word = "not shown"
        if row.p_holm < config.evaluation.level:
            word = "better" if row.difference > 0 else "worse"
        method = MAIN if row.method == main else row.method
        about = f"{method} against {row.reference}: {row.benchmark}, {row.measure}"
        found[about] = Claim(word, f"{100 * row.difference:+.1f} points, p {row.p_holm:.2g}")
    return found


def _words(said: Markup) -> str:
    """A sentence of the report without what it quotes from tables, which no two processors share."""
    return re.sub(r" ?\[#, #\]", "", Markup(MEASURED.sub("#", str(said))).striptags())


def compare(runs: Mapping[str, Mapping[str, Claim]]) -> pd.DataFrame:
    """A row for each claim: a column for each run, which holds a Claim or MISSING, and whether all say the `same`."""
    about = dict.fromkeys(name for found in runs.values() for name in found)
    rows = []
    for name in about:
        said = [found.get(name, Claim(MISSING)) for found in runs.values()]
        rows.append([name, *said, len({claim.word for claim in said}) == 1])
    return pd.DataFrame(rows, columns=["claim", *runs, "same"])


def markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, what differs first, after a line that counts it."""
    ordered = table.sort_values("same", kind="stable")
    lines = [f"{int(table['same'].sum())} of {len(table)} claims are the same in all {table.shape[1] - 2} runs.", ""]
    lines += ["| " + " | ".join(table.columns) + " |", "|" + " --- |" * table.shape[1]]
    for row in ordered.itertuples(index=False):
        cells = [str(cell) for cell in row[:-1]] + ["yes" if row[-1] else "**no**"]
        if row[-1] and not row[1].number:
            cells[2:-1] = ["same"] * len(cells[2:-1])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def run(folder: Path, kernel: Mapping[str, str], configfile: Path, cores: int) -> None:
    """The whole experiment into this folder with these threads and kernels; CalledProcessError when it fails."""
    environment = {**os.environ, **kernel}
    base = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", str(configfile)]
    listed = subprocess.run(
        [*base, "--list-rules"], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    rules = re.findall(r"^[a-z_]+$", listed.stdout, re.MULTILINE)
    # A stage takes its threads from its rule, not from the environment.
    threads = [f"{rule}={kernel['OMP_NUM_THREADS']}" for rule in rules]
    subprocess.run(
        [*base, "--config", f"results={folder}", "--cores", str(cores), "--set-threads", *threads, "--", "all"],
        check=True,
        env=environment,
        cwd=ROOT,
        stdout=sys.stderr,  # the table alone goes to standard output
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, default=ROOT / "config.yaml", help="the experiment")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="cores of each run")
    parser.add_argument("--into", type=Path, default=Path("results_kernels"), help="a folder in it for each run")
    parser.add_argument("--only", nargs="+", choices=list(KERNELS), default=list(KERNELS), help="runs to make")
    parser.add_argument("--compare", nargs="+", type=Path, help="results folders to compare; nothing is run")
    options = parser.parse_args(argv)
    if options.compare:
        folders = {folder.name.replace("_", " "): folder for folder in options.compare}
    else:
        folders = {name: options.into.resolve() / name.replace(" ", "_") for name in options.only}
        for name, folder in folders.items():
            try:
                run(folder, KERNELS[name], options.configfile.resolve(), options.cores)
            except subprocess.CalledProcessError as error:
                sys.exit(f"cross_kernel: the run with {name} ended with status {error.returncode}; its output is above")
    found = {}
    for name, folder in folders.items():
        stored = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        found[name] = claims(folder, load_config(stored))
    table = compare(found)
    print(markdown(table))
    sys.exit(not table["same"].all())


if __name__ == "__main__":
    main()
