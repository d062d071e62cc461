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
        "report/numbers.csv",
        "report/leaderboard.md",
        "report/index.html",
        "report/provenance.json",
        directory("report/figures"),
    threads: config["compute"]["report_threads"]
    params:
        slice=slice_of("report"),
    shell:
        "python -m stages.report --metrics metrics --out report"
