rule continue_pretraining:
    input:
        f"data/{SOURCE}/train.arrow",
        f"data/{SOURCE}/dataset.json",
        lambda wildcards: [
            f"runs/{predecessor(wildcards)}/seed{wildcards.seed}/checkpoint/{file}"
            for file in ("method.safetensors", "model.json")
        ],
        code=code("continue_pretraining"),
        packages=packages("continue_pretraining"),
    output:
        f"{CHECKPOINT}/backbone.safetensors",
        f"{CHECKPOINT}/method.safetensors",
        f"{CHECKPOINT}/model.json",
        f"{CHECKPOINT}/history.json",
        f"{CHECKPOINT}/trajectory.safetensors",
        f"metrics/{SOURCE}/pretrain/{{method}}/seed{{seed}}.json",
    wildcard_constraints:
        method="|".join(SUCCESSORS) or "none",
    threads: config["compute"]["pretrain_threads"]
    resources:
        gpu=NUM_GPUS,
    params:
        slice=slice_of("continue_pretraining"),
        source=SOURCE,
        predecessor=predecessor,
    shell:
        "python -m stages.pretrain --method {wildcards.method} --seed {wildcards.seed}"
        " --data data/{params.source}"
        " --predecessor runs/{params.predecessor}/seed{wildcards.seed}/checkpoint"
        " --out runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
        " --record metrics/{params.source}/pretrain/{wildcards.method}/seed{wildcards.seed}.json"
