rule prepare:
    input:
        code=code("prepare"),
        packages=packages("prepare"),
    output:
        expand("data/{{dataset}}/{split}.arrow", split=SPLITS),
        "data/{dataset}/dataset.json",
        "metrics/{dataset}/prepare.json",
    params:
        slice=slice_of("prepare"),
    threads: config["compute"]["prepare_threads"]
    shell:
        "python -m stages.prepare --dataset {wildcards.dataset} --out data/{wildcards.dataset}"
        " --record metrics/{wildcards.dataset}/prepare.json"
