# The same graph as dvc.yaml, run in parallel. This file is a table of contents: the rules stand in
# workflow/rules, what the code of a stage is made of stands in dvc.yaml.
from snakemake.utils import min_version, validate

from sslbench import snakemake_lock

min_version("9.0")


configfile: "params.yaml"


validate(config, "workflow/schemas/params.schema.yaml")

if workflow.is_main_process:  # not the jobs of a cluster
    snakemake_lock.join()


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/pretrain.smk"
include: "workflow/rules/continue_pretraining.smk"
include: "workflow/rules/extract.smk"
include: "workflow/rules/probe.smk"
include: "workflow/rules/transfer.smk"
include: "workflow/rules/report.smk"


# Snakemake 9.27 looks at all ready jobs once a second for each job that has ended, to keep to a rate
# of submissions, and ends up with a third of a core (docs/performance.md). Local jobs need no rate.
onstart:
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


rule all:
    default_target: True
    input:
        "report/index.html",
