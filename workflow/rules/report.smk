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
        report(
            "report/numbers.csv", caption="../report/numbers.rst", category="Results"
        ),
        report(
            "report/leaderboard.md",
            caption="../report/leaderboard.rst",
            category="Results",
        ),
        report("report/index.html", caption="../report/page.rst", category="Results"),
        report(
            "report/provenance.json",
            caption="../report/provenance.rst",
            category="Results",
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
