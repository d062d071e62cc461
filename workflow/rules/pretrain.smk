rule pretrain:
    input:
        f"data/{SOURCE}/train.arrow",
        f"data/{SOURCE}/dataset.json",
        code=code("pretrain"),
        packages=packages("pretrain"),
    output:
        f"{CHECKPOINT}/backbone.safetensors",
        f"{CHECKPOINT}/method.safetensors",
        f"{CHECKPOINT}/model.json",
        f"{CHECKPOINT}/history.json",
        f"{CHECKPOINT}/trajectory.safetensors",
        f"metrics/{SOURCE}/pretrain/{{method}}/seed{{seed}}.json",
    wildcard_constraints:
        method="|".join(GRID["roots"]) or "none",
    threads: config["compute"]["pretrain_threads"]
    resources:
        gpu=NUM_GPUS,
    params:
        slice=slice_of("pretrain"),
        source=SOURCE,
    shell:
        "python -m stages.pretrain --method {wildcards.method} --seed {wildcards.seed}"
        " --data data/{params.source}"
        " --out runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
        " --record metrics/{params.source}/pretrain/{wildcards.method}/seed{wildcards.seed}.json"
