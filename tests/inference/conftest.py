"""Probabilities of three folds, and of all of them as one part."""

import numpy as np
import pandas as pd
import pytest
from tests.inference.maps import make_predictions

from pneumothorax.inference.predictions import Predictions


@pytest.fixture(scope="module", params=[False, True], ids=["map alone", "image_probability"])
def parts(request):
    return [make_predictions(seed, 64, number, request.param) for seed, number in ((1, 4), (2, 4), (3, 3))]


@pytest.fixture(scope="module")
def whole(parts):
    return Predictions(
        None,
        np.concatenate([part.probabilities for part in parts]),
        pd.concat([part.studies for part in parts], ignore_index=True),
    )
