from dataclasses import replace

import keras
import numpy as np
import pytest

from pneumothorax.training.augmentation import KEPT, RandomGamma, augment, make_augmentation

MOVES = {"rotation_degrees": 20.0, "shift": 0.1, "zoom": 0.1, "elastic": 0.02}
TONES = {"brightness": 0.3, "contrast": 0.5, "gamma": 0.5}
ALL = {"flip": True, **MOVES, **TONES}
SQUARE = np.zeros((6, 64, 64, 1), np.uint8)
SQUARE[:, 16:36, 8:28] = 255
MASK = (SQUARE / 255).astype(np.float32)
NOISE = np.random.default_rng(0).integers(0, 256, SQUARE.shape, dtype=np.uint8)
# Enough lesions at the edge for one to leave the view.
EDGE = np.zeros((32, 64, 64, 1), np.float32)
EDGE[:, 28:34, :3] = 1


def overlap(images, masks):
    a, b = images > 127, masks > 0.5
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def parts(values):
    return [{name: value} for name, value in values.items()]


def run(recipe, images, masks, seed, **fields):
    return augment(make_augmentation(replace(recipe, **fields)), images, masks, seed)


@pytest.mark.parametrize("share", [1.0, 0.9])
@pytest.mark.parametrize("part", [{"flip": True}, *parts(MOVES), {"flip": True, **MOVES}], ids=str)
def test_image_and_mask_move_together(part, share, tiny):
    images, masks = run(tiny, SQUARE, MASK, [1, 2, 3], geometry_share=share, **part)
    assert overlap(images, masks) > 0.95
    assert not np.array_equal(images, SQUARE)
    assert (images.dtype, masks.dtype) == (np.uint8, np.float32)
    assert masks.min() >= 0
    assert masks.max() <= 1


@pytest.mark.parametrize("share", [1.0, 0.9])
@pytest.mark.parametrize("part", [*parts(TONES), TONES], ids=str)
def test_grey_levels_change_and_masks_do_not(part, share, tiny):
    images, masks = run(tiny, NOISE, MASK, [1], tone_share=share, **part)
    assert not np.array_equal(images, NOISE)
    np.testing.assert_array_equal(masks, MASK)


@pytest.mark.parametrize("fields", [ALL, {**ALL, "geometry_share": 0.5, "tone_share": 0.5}], ids=str)
def test_the_same_seed_draws_the_same_and_another_does_not(fields, tiny):
    first, again, other = (
        run(tiny, NOISE, MASK, seed, **fields) for seed in ([5, 0, 1], [5, 0, 1], [5, 1, 1])
    )
    for number in range(2):
        np.testing.assert_array_equal(first[number], again[number])
        assert not np.array_equal(first[number], other[number])


def test_a_flip_is_a_mirror_image(tiny):
    images, _ = run(tiny, SQUARE, MASK, [1], flip=True)
    kinds = ["same" if np.array_equal(image, SQUARE[0]) else "other" for image in images]
    mirrored = [np.array_equal(image, SQUARE[0, :, ::-1]) for image in images]
    assert set(kinds) == {"same", "other"}
    assert mirrored == [kind == "other" for kind in kinds]


@pytest.mark.parametrize("name", ["tone_share", "geometry_share"])
def test_a_share_is_the_share_of_images_that_change_and_the_others_are_equal(name, tiny):
    part = TONES if name == "tone_share" else MOVES
    noise = np.random.default_rng(0).integers(0, 256, (400, 16, 16, 1), dtype=np.uint8)
    images, _ = run(tiny, noise, np.zeros(noise.shape, np.float32), [1], **part, **{name: 0.3})
    changed = (images != noise).any(axis=(1, 2, 3)).mean()
    assert 0.2 < changed < 0.4


def test_each_image_draws_its_own_share(tiny):
    fields = {**ALL, "flip": False, "tone_share": 0.5, "geometry_share": 0.5}
    moved = np.concatenate([run(tiny, SQUARE, MASK, [1, n], **fields)[1] != MASK for n in range(10)]).any(
        axis=(1, 2, 3)
    )
    toned = np.concatenate(
        [
            run(tiny, NOISE, MASK, [1, n], **{**fields, **dict.fromkeys(MOVES, 0.0)})[0] != NOISE
            for n in range(10)
        ]
    ).any(axis=(1, 2, 3))
    pairs = set(zip(moved.tolist(), toned.tolist(), strict=True))
    assert len(pairs) == 4  # the two groups are drawn apart


@pytest.mark.parametrize("gamma", [0.0, 0.01])
def test_a_lesion_never_leaves_the_view(gamma, tiny, monkeypatch):
    fields = {"shift": 0.3, "gamma": gamma}
    images = (EDGE * 200).astype(np.uint8)
    moved, masks = run(tiny, images, EDGE, [1], **fields)
    area = EDGE.sum(axis=(1, 2, 3))
    assert (masks.sum(axis=(1, 2, 3)) >= KEPT * area).all()
    assert overlap(moved, masks) > 0.8
    monkeypatch.setattr("pneumothorax.training.augmentation.KEPT", 0.0)
    _, lost = run(tiny, images, EDGE, [1], **fields)
    gone = lost.sum(axis=(1, 2, 3)) < KEPT * area
    assert gone.any()
    assert (masks[gone] != EDGE[gone]).any(axis=(1, 2, 3)).mean() > 0.9  # drawn again, not put back
    np.testing.assert_array_equal(masks[~gone], lost[~gone])  # the others keep their first draw


@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_lesion_that_no_draw_keeps_stays_where_it_was(share, tiny, monkeypatch):
    monkeypatch.setattr("pneumothorax.training.augmentation.KEPT", 5.0)
    images, masks = run(tiny, SQUARE, MASK, [1], shift=0.1, geometry_share=share)
    np.testing.assert_array_equal(images, SQUARE)
    np.testing.assert_array_equal(masks, MASK)


def test_empty_masks_stay_empty_and_are_moved_all_the_same(tiny):
    images, masks = run(tiny, NOISE, np.zeros_like(MASK), [1], **ALL)
    assert not masks.any()
    assert (images != NOISE).any(axis=(1, 2, 3)).all()


def test_what_is_beyond_the_frame_is_black_whatever_the_tone(tiny):
    white = np.full((64, 32, 32, 1), 200, np.uint8)
    fields = {"shift": 0.4, "brightness": 0.2, "contrast": 0.5, "gamma": 0.3}
    images, _ = run(tiny, white, np.zeros(white.shape, np.float32), [1], **fields)
    corners = images[:, [0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert (corners == 0).any(axis=1).mean() > 0.9


def test_the_order_of_a_batch_and_its_epoch_leave_the_arguments_alone(tiny):
    images, masks = SQUARE.copy(), MASK.copy()
    run(tiny, images, masks, [1], **ALL)
    np.testing.assert_array_equal(images, SQUARE)
    np.testing.assert_array_equal(masks, MASK)


def test_gamma_raises_to_powers_between_its_extremes():
    grey = np.full((500, 1, 1, 1), 255 / 4, np.float32)
    layer = RandomGamma(0.5)
    power = layer.get_random_transformation({"images": grey}, training=True, seed=1)
    images = keras.ops.convert_to_numpy(layer.transform_images(grey, power, training=True)).ravel()
    found = np.log(images / 255) / np.log(1 / 4)
    assert found.min() == pytest.approx(1 / 1.5, abs=0.01)
    assert found.max() == pytest.approx(1.5, abs=0.01)
    assert (found < 1).mean() == pytest.approx(0.5, abs=0.06)
    ends = np.array([0, 255], np.float32).reshape(2, 1, 1, 1)
    kept = layer.transform_images(ends, power[:2], training=True)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kept), ends)


def test_the_paper_augments_nothing(tiny):
    images, masks = augment(make_augmentation(tiny), NOISE, MASK, [1])
    assert not tiny.augments
    np.testing.assert_array_equal(images, NOISE)
    np.testing.assert_array_equal(masks, MASK)
