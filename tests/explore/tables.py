"""Tables of studies for the tests of duplicates and statistics."""

import pandas as pd


def make_studies(number, **columns):
    table = {"patient": [f"p{at}" for at in range(number)], "area": 0, "part": "train", "fold": 0}
    names = [f"i{at}" for at in range(number)]
    return pd.DataFrame({"ImageId": names, **table} | columns)
