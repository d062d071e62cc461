rule prepare:
    input:
        code=code("prepare"),
        packages=packages("prepare"),
    output:
        expand("data/{{dataset}}/{split}.arrow", split=SPLITS),
        "data/{dataset}/dataset.json",
        "metrics/{dataset}/prepare.json",
    threads: config["compute"]["prepare_threads"]
    params:
        slice=slice_of("prepare"),
    shell:
        "python -m stages.prepare --dataset {wildcards.dataset} --out data/{wildcards.dataset}"
        " --record metrics/{wildcards.dataset}/prepare.json"
