"""The sections of the page, in order: each is a function from the evidence to its blocks."""

from collections.abc import Callable

from vialign.config.experiment import Config
from vialign.report.blocks import Section, heading
from vialign.report.evidence import Evidence
from vialign.report.sections.attribution import attribution
from vialign.report.sections.failures import failures
from vialign.report.sections.frontier import beside_published
from vialign.report.sections.gates import gates
from vialign.report.sections.inputs import backbone, data, disentanglers
from vialign.report.sections.methods import ablation, comparison, costs
from vialign.report.sections.monitoring import gradients, monitoring
from vialign.report.sections.opening import design_review, opening
from vialign.report.sections.provenance import provenance
from vialign.report.sections.signal import signal
from vialign.report.sections.theory import theory
from vialign.report.sections.training import training
from vialign.report.sections.trust import trust

Maker = Callable[[Evidence, Config], Section]


def training_and_monitoring(evidence: Evidence, config: Config) -> Section:
    """How training went, and how the signal moved with it."""
    return _joined("training", "Training and monitoring", [training(evidence, config), monitoring(evidence, config)])


def gradients_and_theory(evidence: Evidence, config: Config) -> Section:
    """What the gradients asked for after the fact, and C where mutual information is known."""
    return _joined("gradients", "Gradients and theory", [gradients(evidence, config), theory(evidence, config)])


def _joined(name: str, title: str, parts: list[Section]) -> Section:
    """Several sections as one: their titles become headings inside it."""
    section = Section(name, title)
    for part in parts:
        section.blocks.extend([heading(part.title), *part.blocks])
    return section


SECTIONS: tuple[Maker, ...] = (
    data,
    backbone,
    disentanglers,
    signal,
    gates,
    training_and_monitoring,
    comparison,
    attribution,
    ablation,
    costs,
    failures,
    trust,
    gradients_and_theory,
    provenance,
)
"""What follows the summary, and the design review of a stopped run."""

__all__ = ["SECTIONS", "beside_published", "design_review", "opening"]
