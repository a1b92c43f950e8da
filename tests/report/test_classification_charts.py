import numpy as np
import pytest

from pneumothorax.data import rle
from pneumothorax.data.cache import shrink
from pneumothorax.report.classification_charts import image_reliability, pixel_reliability


@pytest.mark.slow
def test_reliability_is_that_of_every_pixel_once(run):
    (part,) = run.parts
    codes = part.studies["EncodedPixels"]
    masks = np.stack(
        [shrink(rle.decode(code, (1024, 1024)) * np.uint8(255), 64, "area") / 255 for code in codes]
    )
    probability = part.probabilities / 255
    bins = np.minimum((probability * 20).astype(int), 19)
    there = np.unique(bins)
    told, true = pixel_reliability(run)
    np.testing.assert_allclose(told, [probability[bins == one].mean() for one in there])
    np.testing.assert_allclose(true, [masks[bins == one].mean() for one in there], atol=1e-6)


def test_images_are_reliable_where_the_share_of_ill_ones_is_the_image_probability():
    image_probability = np.array([0.05] * 20 + [0.95] * 20)
    positive = np.arange(40) % 20 == 0
    positive[20:] = ~positive[20:]
    told, true = image_reliability(positive, image_probability)
    np.testing.assert_allclose(told, [0.05, 0.95])
    np.testing.assert_allclose(true, [0.05, 0.95])
