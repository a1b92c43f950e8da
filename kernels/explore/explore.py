# %% [markdown]
# # Pneumothorax: explore
# The competition's data in a few pictures: number of radiographs with a pneumothorax, its area and
# position, the patients, and the folds. The output `explore.html` is the
# whole page, to open in a browser: duplicates and odd images as well.
#
# Needs: the competition (accept its rules first) and a dataset with the training images; no GPU.

# %% tags=["parameters"]
SIZE = 256  # side of the prepared images in pixels
FOLD_COUNT = 5  # number of folds
SEED = 0  # of the folds and of the samples
DATASET = "jesperdramsch/siim-acr-pneumothorax-segmentation-data"  # training images

# %% [markdown] tags=["package"]
# ## The package
# The next cells write the package `pneumothorax`, all that this notebook runs, and check that it arrived
# whole. They are made from the repository: change it there.

# %% [markdown]
# ## The session

# %%
from pathlib import Path

from IPython.display import Image, display

from pneumothorax import mounts
from pneumothorax.cli import main
from pneumothorax.data.cache import open_cache
from pneumothorax.data.folds import assign_folds
from pneumothorax.explore import charts, statistics
from pneumothorax.explore.samples import draw_samples
from pneumothorax.kaggle import COMPETITION
from pneumothorax.kaggle.notebooks import inputs, session
from pneumothorax.report.figures import save_figure

session.begin("cpu")
workspace = inputs.make_workspace(COMPETITION, [DATASET])
figures = workspace.root / "figures"


def show(path: Path) -> None:
    """Show a picture in the notebook."""
    display(Image(filename=str(path)))


# %% [markdown]
# ## The page

# %%
shape = ["--interpolation", "area", "--size", str(SIZE), "--fold-count", str(FOLD_COUNT), "--seed", str(SEED)]
page = ["--root", str(workspace.root), "--out", str(mounts.working() / "explore.html"), "--debug"]
assert main(["explore", *shape, *page]) == 0
cache = open_cache(workspace.cache(SIZE, "area", "train"))
studies = cache.studies

# %% [markdown]
# ## Counts
# An image without a pneumothorax scores 1 for an empty mask and 0 for any other: most of the score depends
# on leaving images empty.

# %%
print(statistics.describe(studies))

# %% [markdown]
# ## Areas

# %%
save_figure(charts.draw_areas(studies["area"].to_numpy()), figures / "areas.png")
show(figures / "areas.png")

# %% [markdown]
# ## Positions

# %%
save_figure(charts.draw_positions(cache.masks), figures / "positions.png")
show(figures / "positions.png")

# %% [markdown]
# ## Samples

# %%
draw_samples(cache.images, cache.masks, studies["ImageId"], figures / "samples.png", seed=SEED)
show(figures / "samples.png")

# %% [markdown]
# ## Patients
# A patient may have dozens of images. A patient on both sides of a split would be recognised, not diagnosed.

# %%
save_figure(charts.draw_patients(studies), figures / "patients.png")
show(figures / "patients.png")

# %% [markdown]
# ## The folds

# %%
save_figure(charts.draw_folds(studies, assign_folds(studies, FOLD_COUNT, SEED)), figures / "folds.png")
show(figures / "folds.png")
