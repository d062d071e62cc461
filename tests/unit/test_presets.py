import itertools

import pytest
import yaml

from sslbench import methods, presets
from sslbench.commands._schema import validate
from sslbench.core import params
from sslbench.core.errors import UserError

NAMES = presets.presets()


def test_the_presets_that_users_were_promised_are_there():
    promised = {"default", "smoke", "cifar10_cpu", "cifar10", "imagenette", "folder"}
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


@pytest.mark.parametrize("name", ["full", "cifar10_cpu_full"])
def test_a_full_preset_has_every_method(name):
    assert sorted(yaml.safe_load(presets.compose(name))["grid"]["methods"]) == methods.names()


def test_a_change_is_applied():
    text = presets.compose("default", ["pretrain.epochs=3", "grid.methods=[simclr]"])
    values = yaml.safe_load(text)
    assert values["pretrain"]["epochs"] == 3
    assert list(values["methods"]) == ["simclr"]


@pytest.mark.parametrize(
    ("preset", "changes", "says"),
    [
        ("nope", [], "unknown preset 'nope'"),
        ("default", ["pretrain.epoch=3"], "no key 'pretrain.epoch'"),
        ("default", ["pretrain.epochs"], "is not key=value"),
        ("default", ["grid.methods=[nope]"], "no block recipes.nope"),
        ("default", ["grid.methods=[simclrv2_finetune]"], "simclrv2_finetune continues simclrv2"),
        ("default", ["grid.source=nope"], "no block data.nope"),
    ],
)
def test_mistakes_are_one_line(preset, changes, says):
    with pytest.raises(UserError) as error:
        presets.compose(preset, changes)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


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


def test_generated_files_are_current(root):
    from sslbench.commands import docs

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
