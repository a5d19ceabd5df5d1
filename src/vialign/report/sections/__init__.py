"""The sections of the page, in order: each is a function from the evidence to its blocks."""

from collections.abc import Callable

from vialign.config import Config
from vialign.report.blocks import Section
from vialign.report.evidence import Evidence
from vialign.report.sections.failures import failures
from vialign.report.sections.inputs import backbone, data, disentanglers
from vialign.report.sections.methods import ablation, comparison, efficiency, training
from vialign.report.sections.monitoring import monitoring
from vialign.report.sections.opening import design_review, opening
from vialign.report.sections.provenance import provenance
from vialign.report.sections.signal import gates, signal

SECTIONS: tuple[Callable[[Evidence, Config], Section], ...] = (
    data,
    backbone,
    disentanglers,
    signal,
    gates,
    training,
    monitoring,
    comparison,
    ablation,
    efficiency,
    failures,
    provenance,
)
"""What follows the summary, and the design review of a stopped run."""

__all__ = ["SECTIONS", "design_review", "opening"]
