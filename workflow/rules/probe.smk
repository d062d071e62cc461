rule probe:
    input:
        f"{CHECKPOINT}/model.json",
        expand(f"{FEATURES}/{{split}}.safetensors", split=SPLITS, allow_missing=True),
        code=code("probe"),
        packages=packages("probe"),
    output:
        "metrics/{dataset}/{protocol}/{method}/seed{seed}.json",
    wildcard_constraints:
        protocol="|".join(GRID["probes"]) or "none",
    threads: config["compute"]["probe_threads"]
    params:
        slice=slice_of("probe"),
    shell:
        "python -m stages.probe --protocol {wildcards.protocol}"
        " --checkpoint runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
        " --features runs/{wildcards.method}/seed{wildcards.seed}/features/{wildcards.dataset}"
        " --record {output}"
