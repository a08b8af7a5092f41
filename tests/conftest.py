"""Settings of all tests."""

import os

from hypothesis import settings

# A machine that is busy with something else makes no law untrue; and what fails, fails for everybody. To look for
# examples that nobody has seen yet: TEACHERLM_TEST_PROFILE=search make test.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("TEACHERLM_TEST_PROFILE", "same"))
