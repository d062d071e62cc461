rule transfer:
    input:
        expand("data/{{dataset}}/{split}.arrow", split=SPLITS),
        "data/{dataset}/dataset.json",
        f"{CHECKPOINT}/backbone.safetensors",
        f"{CHECKPOINT}/model.json",
        code=code("transfer"),
        packages=packages("transfer"),
    output:
        "metrics/{dataset}/{protocol}/{method}/seed{seed}.json",
    wildcard_constraints:
        protocol="|".join(GRID["transfers"]) or "none",
    threads: config["compute"]["transfer_threads"]
    resources:
        gpu=1,
    params:
        slice=slice_of("transfer"),
    shell:
        "python -m stages.transfer --protocol {wildcards.protocol} --seed {wildcards.seed}"
        " --checkpoint runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
        " --data data/{wildcards.dataset}"
        " --record {output}"
