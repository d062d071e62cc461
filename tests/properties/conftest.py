"""How hard the properties are tried; `HYPOTHESIS_PROFILE=deep`: long, with fresh examples."""

import os

from hypothesis import HealthCheck, settings

# Examples write files; how long one takes says more of the disk than of us.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fast", max_examples=60, derandomize=True, database=None, **_COMMON)
settings.register_profile("deep", max_examples=5000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))
