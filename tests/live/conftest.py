from tests.features.conftest import model  # noqa: F401  (a fixture)
