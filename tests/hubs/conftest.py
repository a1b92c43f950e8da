"""Kaggle's stand-in for these tests."""

from tests.kaggle.conftest import standin  # noqa: F401
