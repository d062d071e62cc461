rule extract:
    input:
        expand("data/{{dataset}}/{split}.arrow", split=SPLITS),
        "data/{dataset}/dataset.json",
        f"{CHECKPOINT}/backbone.safetensors",
        f"{CHECKPOINT}/model.json",
        code=code("extract"),
        packages=packages("extract"),
    output:
        expand(f"{FEATURES}/{{split}}.safetensors", split=SPLITS, allow_missing=True),
        "metrics/{dataset}/extract/{method}/seed{seed}.json",
    threads: config["compute"]["extract_threads"]
    resources:
        gpu=NUM_GPUS,
    params:
        slice=slice_of("extract"),
    shell:
        "python -m stages.extract"
        " --checkpoint runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
        " --data data/{wildcards.dataset}"
        " --out runs/{wildcards.method}/seed{wildcards.seed}/features/{wildcards.dataset}"
        " --record metrics/{wildcards.dataset}/extract/{wildcards.method}/seed{wildcards.seed}.json"
