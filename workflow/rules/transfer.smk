# Three stages of the graph with one command: what differs is which data sets they are run on.
for stage, axis in {
    "transfer": "transfers",
    "dense": "dense_transfers",
    "video": "video_transfers",
}.items():

    rule:
        name:
            stage
        input:
            expand("data/{{dataset}}/{split}.arrow", split=SPLITS),
            "data/{dataset}/dataset.json",
            f"{CHECKPOINT}/backbone.safetensors",
            f"{CHECKPOINT}/model.json",
            [f"{CHECKPOINT}/trajectory.safetensors"] if stage == "transfer" else [],
            code=code(stage),
            packages=packages(stage),
        output:
            "metrics/{dataset}/{protocol}/{method}/seed{seed}.json",
        wildcard_constraints:
            protocol="|".join(GRID[axis]) or "none",
        threads: config["compute"]["transfer_threads"]
        resources:
            gpu=NUM_GPUS,
        params:
            slice=slice_of(stage),
        shell:
            "python -m stages.transfer --protocol {wildcards.protocol} --seed {wildcards.seed}"
            " --checkpoint runs/{wildcards.method}/seed{wildcards.seed}/checkpoint"
            " --data data/{wildcards.dataset}"
            " --record {output}"
