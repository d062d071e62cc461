import itertools
import re

import pytest
import torch
import yaml

from sslbench import backbones, methods, presets
from sslbench.commands._schema import validate
from sslbench.core import params
from sslbench.core.errors import UserError
from sslbench.methods.base import DataInfo
from sslbench.pretraining.settings import Budget, Recipe

NAMES = presets.presets()


def test_the_presets_that_users_were_promised_are_there():
    promised = {"default", "smoke", "cifar10_cpu", "cifar10", "imagenette", "imagenet", "folder"}
    assert promised <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_composes_and_fits_the_schema(name):
    text = presets.compose(name)
    validate(yaml.safe_load(text), name)
    assert text == presets.compose(name), "deterministic"


def test_the_committed_params_are_the_default_preset(root):
    assert (root / "params.yaml").read_text() == presets.compose("default"), (
        "run `sslbench compose default`"
    )


@pytest.mark.parametrize("name", ["full", "cifar10_cpu_full", "imagenet"])
def test_a_full_preset_has_every_method(name):
    assert sorted(yaml.safe_load(presets.compose(name))["grid"]["methods"]) == methods.names()


# Train images of the presets' sources less their val share.
NUM_SAMPLES = {"imagenet": 1_268_355, "cifar10": 45_000}
# Methods whose constructors compute tables, which tensors without values cannot; of jigsaw's
# permutations a few will do.
COMPUTES = {"colorization": {}, "split_brain": {}, "jigsaw": {"num_permutations": 20}}


@pytest.fixture(scope="module", params=NUM_SAMPLES)
def whole_preset(request):
    grid = f"grid.methods=[{', '.join(methods.names())}]"
    return request.param, yaml.safe_load(presets.compose(request.param, [grid]))


@pytest.mark.parametrize("name", methods.names())
def test_every_method_builds_at_its_full_size(whole_preset, name):
    preset, values = whole_preset
    budget = params.build(Budget, values["pretrain"], "pretrain")
    recipe = params.build(Recipe, values["recipes"][name], f"recipes.{name}")
    module = methods.load(name)
    settings = params.build(
        module.Params, values["methods"][name] | COMPUTES.get(name, {}), f"methods.{name}"
    )
    size = budget.image_size
    facts = DataInfo(NUM_SAMPLES[preset], 10, size, (0.5,) * 3, (0.2,) * 3)
    # "meta": shapes without memory, so that a ResNet-50 and its heads take milliseconds.
    with torch.device("cpu" if name in COMPUTES else "meta"):
        backbone = backbones.build({**recipe.backbone, "image_size": size})
        method = module.METHOD(backbone, settings, facts)
    assert {group.phase for group in method.parameter_groups()} <= set(method.phases)
    patch = recipe.backbone.get("patch_size", 1)
    assert all((view.size or size) % patch == 0 for view in method.views)


# A number of a method's own, or a learning rate; not what is nested or shared by an alias.
NUMBER = re.compile(r"    (?!warmup_fraction)\w+: *[\d.\[]|.*learning_rate: ")


@pytest.mark.parametrize("path", sorted(presets.CONF.glob("recipes/*.yaml")), ids=lambda p: p.stem)
def test_every_number_of_a_recipe_says_where_it_is_from(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if NUMBER.match(line) and "#" not in line]
    assert not bare, "give each a comment with [P], [V], [S] or [C]"


def test_a_change_is_applied():
    text = presets.compose("default", ["pretrain.epochs=3", "grid.methods=[simclr]"])
    values = yaml.safe_load(text)
    assert values["pretrain"]["epochs"] == 3
    assert list(values["methods"]) == ["simclr"]


def test_a_value_never_keeps_the_source_of_the_one_that_it_replaces():
    changes = ["grid.methods=[simclr]", "methods.simclr.temperature=0.3"]
    text = presets.compose("imagenet", changes)
    assert "[S]" not in text.partition("\nextract:")[0], "small's recipes were tried on scenes"
    lines = text.partition("\nmethods:")[2].splitlines()
    assert "    output_dim: 128               # [P]" in lines
    assert "    temperature: 0.3" in lines


@pytest.mark.parametrize(
    ("preset", "changes", "says"),
    [
        ("nope", [], "unknown preset 'nope'"),
        ("default", ["pretrain.epoch=3"], "no key 'pretrain.epoch'"),
        ("default", ["pretrain.epochs"], "is not key=value"),
        ("default", ["grid.methods=[nope]"], "no block recipes.nope"),
        ("default", ["grid.methods=[simclrv2_finetune]"], "simclrv2_finetune continues simclrv2"),
        ("default", ["grid.source=nope"], "no block data.nope"),
        (
            "default",
            ["grid.transfers=[knn_by_epoch]"],
            "knn_by_epoch needs earlier epochs; --set pretrain.keep_every_epochs=1",
        ),
    ],
)
def test_mistakes_are_one_line(preset, changes, says):
    with pytest.raises(UserError) as error:
        presets.compose(preset, changes)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["evaluation", "real_images", "cifar10", "imagenet"])
def test_protocols_alike_share_their_numbers_in_every_preset(name):
    """`as extract.max_dim` and its like follow what the preset, and the user, put there."""
    changes = [
        "grid.transfers=[knn_by_epoch, robustness, layers]", "grid.probes=[knn, linear]",
        "pretrain.keep_every_epochs=1", "probe.knn.temperature=[0.2]", "probe.linear.num_c=3",
    ]  # fmt: skip
    values = yaml.safe_load(presets.compose(name, changes))
    followed, extract = values["transfer"]["knn_by_epoch"], values["extract"]
    assert followed["knn"] == values["probe"]["knn"]
    assert followed["knn"]["temperature"] == [0.2]
    assert followed["max_dim"] == values["transfer"]["robustness"]["max_dim"] == extract["max_dim"]
    assert followed["batch_size"] == extract["batch_size"]
    for protocol in ("robustness", "layers"):
        assert values["transfer"][protocol]["linear"] == values["probe"]["linear"]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("pretrain.epochs", "many", "pretrain.epochs: 'many' is not of type 'integer'"),
        ("methods.simclr.temperature", None, "methods.simclr.temperature"),
        ("data.scenes.train", "all", "data.scenes.train"),
    ],
)
def test_the_schema_names_the_keys_path(key, value, says):
    values = yaml.safe_load(presets.compose("default"))
    *path, last = key.split(".")
    params.select(values, ".".join(path))[last] = value
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        validate(values, "params.yaml")


def test_the_schema_refuses_an_unknown_key():
    values = yaml.safe_load(presets.compose("default"))
    values["methods"]["simclr"]["temprature"] = 0.1
    with pytest.raises(UserError, match="temprature"):
        validate(values, "params.yaml")


def test_generated_files_are_current(root, monkeypatch):
    from sslbench.commands import docs

    monkeypatch.chdir(root)
    assert (root / docs.PAGE).read_text() == docs.results_page(), "run `make docs`"
    assert (root / docs.SCHEMA).read_text() == docs.schema_text(), "run `make docs`"
    assert (root / docs.METHODS_PAGE).read_text() == docs.methods_page(), "run `make docs`"


def test_blocks_that_share_an_anchor_are_edited_apart(root):
    grid = "grid.methods=[rotation, deepclusterv2, supervised]"
    values = yaml.safe_load(presets.compose("cifar10", [grid], root / "conf"))
    names = {name: recipe["optimizer"]["name"] for name, recipe in values["recipes"].items()}
    assert names == {"rotation": "sgd", "deepclusterv2": "lars", "supervised": "sgd"}
    changes = ["grid.methods=[rotation, random_init]", "recipes.rotation.warmup_fraction=0.5"]
    values = yaml.safe_load(presets.compose("default", changes, root / "conf"))
    warmups = {name: recipe["warmup_fraction"] for name, recipe in values["recipes"].items()}
    assert warmups == {"rotation": 0.5, "random_init": 0.05}


def test_the_grid_says_which_methods_continue_which():
    chain = presets.ancestry("simclrv2_distill", "default")
    assert chain == ["simclrv2", "simclrv2_finetune", "simclrv2_distill"]
    changes = [f"grid.methods=[{', '.join(['rotation', *chain])}]", "grid.seeds=[3]"]
    values = yaml.safe_load(presets.compose("default", changes))
    assert values["grid"]["roots"] == ["rotation", "simclrv2"]
    assert values["grid"]["successors"] == {
        f"{method}-3": {"method": method, "predecessor": before, "seed": 3}
        for before, method in itertools.pairwise(chain)
    }
    assert all("predecessor" not in recipe for recipe in values["recipes"].values())
