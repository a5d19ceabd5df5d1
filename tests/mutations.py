"""Faults put into a copy of the code, each with the test that must notice it.

    python tests/mutations.py            # all of them
    python tests/mutations.py two-level   # those whose name holds this word

A test that passes on broken code checks nothing. Each fault replaces one piece of text, which must stand in its file
exactly once; the test must pass on the code as it is and fail, by an assertion, on the faulty copy. `make test` runs
all of them. To add one, add a line to FAULTS.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """One piece of code, what it becomes, and the test that must fail then."""

    name: str
    file: str
    """Below src/vialign."""
    right: str
    wrong: str
    test: str
    """As pytest names it, below tests/unit."""

    def apply(self, source: Path) -> None:
        """Put the fault into a copy of src; ValueError when its text is not there exactly once."""
        file = source / "vialign" / self.file
        text = file.read_text(encoding="utf-8")
        if text.count(self.right) != 1:
            raise ValueError(f"{self.name}: {self.file} holds {self.right!r} {text.count(self.right)} times, not once")
        file.write_text(text.replace(self.right, self.wrong), encoding="utf-8")


_SEEDS = "evaluation/test_compare.py::test_the_spread_of_a_methods_seeds_counts_against_the_frozen_backbone"
_PAIRED = "evaluation/test_compare.py::test_only_the_seeds_of_both_are_paired_whatever_the_order_of_the_rows"
_FLOOR = "disentangle/test_prototype_quality.py::test_the_floor_is_of_atoms_that_nothing_was_fitted_to"
_GROUNDING = "curriculum/test_ground.py::test_it_is_fitted_on_captions_and_not_on_their_negatives"
_OUTCOME = "budget/test_timing.py::test_a_limit_has_three_outcomes_and_both_ends_count"
_COUNTED = "training/test_efficiency.py::test_both_disentanglers_and_the_parser_count_as_extra"

FAULTS = (
    Fault(
        "two-level model without the seeds' part",
        "evaluation/two_level.py",
        "variance = parts.item + parts.seed",
        "variance = parts.item + 0 * parts.seed",
        _SEEDS,
    ),
    Fault(
        "two-level model with the degrees of freedom of the images",
        "evaluation/two_level.py",
        "df=np.where(variance <= floor**2, item_df, df),",
        "df=np.where(variance <= 2, item_df, df),",
        _SEEDS,
    ),
    Fault(
        "two-level model of another seed's column",
        "evaluation/two_level.py",
        "[second[seed] for seed in common]",
        "[second[seed] for seed in common[::-1]]",
        _PAIRED,
    ),
    Fault(
        "two-level model of the first seeds, whichever they are",
        "evaluation/two_level.py",
        "[first[seed] for seed in common]",
        "list(first.values())[: len(common)]",
        "evaluation/test_two_level.py::"
        "test_paired_seeds_are_the_table_of_differences_and_the_order_of_seeds_does_not_matter",
    ),
    Fault(
        "floor of random atoms from the fitted maps",
        "disentangle/prototype_quality.py",
        "_maps(random_atoms(visual, seed), taken)[1]",
        "maps",
        _FLOOR,
    ),
    Fault(
        "random atoms are the fitted ones",
        "disentangle/prototype_quality.py",
        "random.mean.copy_(visual.mean)\n",
        "random.load_state_dict(visual.state_dict())\n",
        _FLOOR,
    ),
    Fault(
        "grounding fitted on negatives too",
        "methods/curriculum/method.py",
        "data.captions, data.image_of_text[data.captions])",
        "torch.arange(len(data.texts)), data.image_of_text)",
        _GROUNDING,
    ),
    Fault(
        "grounding standardised by negatives too",
        "methods/ground.py",
        "mean = torch.stack([words[part].double().sum(dim=0) for part in parts]).sum(dim=0) / len(captions)",
        "mean = words[torch.arange(len(words))].double().mean(dim=0)",
        _GROUNDING,
    ),
    Fault(
        name="kept ignores the upper end of the interval",
        file="budget/timing.py",
        right="if found.high < limit:",
        wrong="if found.value < limit:",
        test=_OUTCOME,
    ),
    Fault(
        name="the visual disentangler is not counted",
        file="training/efficiency.py",
        right="modules = (*modules, bench.visual, bench.text)",
        wrong="modules = (*modules, bench.text)",
        test=_COUNTED,
    ),
)


def outcome(python: str, source: Path, tests: list[str]) -> tuple[int, str]:
    """Exit status and output of pytest on these tests with the code in this folder."""
    # Shapes are not checked here: it is the test that must notice.
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts=--import-mode=importlib"]
    done = subprocess.run(
        [python, "-m", "pytest", *options, *(f"tests/unit/{test}" for test in tests)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def unnoticed(faults: tuple[Fault, ...], python: str = sys.executable) -> list[str]:
    """What is wrong, a line each: a test that does not pass on the code as it is, or does not fail on a fault.

    `python` runs the tests, in a process of its own for each fault.
    """
    problems = []
    status, printed = outcome(python, ROOT / "src", sorted({fault.test for fault in faults}))
    if status != 0:
        return [f"the tests do not pass on the code as it is:\n{printed}"]
    with tempfile.TemporaryDirectory() as scratch:
        for number, fault in enumerate(faults):
            source = Path(scratch) / str(number) / "src"
            shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            fault.apply(source)
            status, printed = outcome(python, source, [fault.test])
            if status == 0:
                problems.append(f"{fault.name}: {fault.test} passes all the same")
            elif status != 1 or "AssertionError" not in printed:
                problems.append(f"{fault.name}: {fault.test} ended otherwise than by an assertion:\n{printed}")
    return problems


def main() -> None:
    """Print what goes unnoticed and exit 1, or say that all is noticed."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    faults = tuple(fault for fault in FAULTS if word in fault.name)
    problems = unnoticed(faults)
    print("\n".join(problems) or f"{len(faults)} faults, each noticed by its test")
    sys.exit(bool(problems) or not faults)


if __name__ == "__main__":
    main()
