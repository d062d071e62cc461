import dataclasses

import yaml
from hypothesis import given
from hypothesis import strategies as st

from sslbench.core import params
from sslbench.pretraining.settings import OptimizerSettings

SETTINGS = st.builds(
    OptimizerSettings,
    name=st.sampled_from(["sgd", "adam", "adamw", "lars"]),
    learning_rate=st.floats(1e-12, 1e3),
    weight_decay=st.floats(0, 1),
    momentum=st.none() | st.floats(0, 1),
    betas=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
)


@given(SETTINGS)
def test_what_is_written_is_read_back(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("p") / "params.yaml"
    plain = dataclasses.asdict(settings)
    plain["betas"] = list(plain["betas"]) if plain["betas"] else None
    path.write_text(yaml.safe_dump({"optimizer": plain}))
    assert params.build(OptimizerSettings, params.load(path)["optimizer"], "optimizer") == settings
