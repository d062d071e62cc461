rule report:
    input:
        [records(targets, protocols) for targets, protocols in EVALUATIONS.items()],
        expand("metrics/{dataset}/prepare.json", dataset=GRID["datasets"]),
        expand(
            f"metrics/{SOURCE}/pretrain/{{method}}/seed{{seed}}.json",
            method=GRID["methods"],
            seed=GRID["seeds"],
        ),
        expand(
            "metrics/{dataset}/extract/{method}/seed{seed}.json",
            dataset=GRID["targets"],
            method=GRID["methods"],
            seed=GRID["seeds"],
        ),
        code=code("report"),
        packages=packages("report"),
    output:
        report("report/numbers.csv", caption="../report/numbers.rst", category="Report"),
        report("report/layers.csv", caption="../report/layers.rst", category="Report"),
        report(
            "report/leaderboard.md",
            caption="../report/leaderboard.rst",
            category="Report",
        ),
        report("report/index.html", caption="../report/page.rst", category="Report"),
        report(
            "report/provenance.json",
            caption="../report/provenance.rst",
            category="Report",
        ),
        report(
            directory("report/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="Figures",
        ),
    threads: config["compute"]["report_threads"]
    params:
        slice=slice_of("report"),
    shell:
        "python -m stages.report --metrics metrics --out report"
