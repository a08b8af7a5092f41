"""Settings of all tests."""

from hypothesis import settings

# A machine that is busy with something else makes no law untrue.
settings.register_profile("teacherlm", deadline=None)
settings.load_profile("teacherlm")
