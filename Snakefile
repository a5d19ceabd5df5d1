# vialign: verifiable implicit alignment signals. `snakemake --cores 8 all` is the main job; every stage is a target.
from snakemake.utils import min_version

min_version("9.20")


configfile: "config.yaml"


# They read tables, take seconds, and decide what is planned next: on a cluster they run where the run is steered.
localrules:
    signal_gate,
    budget_gate,
    early_gate,
    ablation,


include: "workflow/rules/common.smk"
include: "workflow/rules/gating.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/backbone.smk"
include: "workflow/rules/language.smk"
include: "workflow/rules/features.smk"
include: "workflow/rules/regions.smk"
include: "workflow/rules/disentangle.smk"
include: "workflow/rules/signal.smk"
include: "workflow/rules/budget.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/ablate.smk"
include: "workflow/rules/attribute.smk"
include: "workflow/rules/uses.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/compare_all.smk"
include: "workflow/rules/analyse.smk"
include: "workflow/rules/trust.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/scatter.smk"
include: "workflow/rules/sections.smk"


rule all:
    default_target: True
    input:
        rules.report.output,
        prepared(),
        ahead(["signal_gate"], baseline_search),
        ahead(["signal_gate", "budget_gate"], early_subsets),
        when_decided(lambda: []),
