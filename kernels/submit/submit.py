# %% [markdown]
# # Pneumothorax: submit
# Collects the folds that *train* notebooks left, tunes the decision on their held-out images, predicts the
# test set by the mean of the folds, and leaves `submission.csv`, the notebook's output, checked by the
# competition's rules.
#
# Needs: the competition (accept its rules first), and the output of one or more *train* notebooks.

# %% tags=["parameters"]
NOTEBOOKS = []  # train notebooks, such as me/pneumothorax-train; every attached output when empty
RUN = ""  # name of the run; the only one when empty
FLAGS = ""  # changes to the tuned decision, such as --threshold 0.4 --min-area 2000
ACCELERATOR = "gpu"  # T4 x2; tpu: TPU v5e-8, by JAX; cpu does it too, more slowly

# %% [markdown] tags=["package"]
# ## The package
# The next cells write the package `pneumothorax`, all that this notebook runs, and check that it arrived
# whole. They are made from the repository: change it there.

# %% [markdown]
# ## The session

# %%
import shlex
from pathlib import Path

import numpy as np
from IPython.display import Image, display

from pneumothorax import mounts
from pneumothorax.cli import main
from pneumothorax.data import rle
from pneumothorax.data.annotations import read_annotations
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.explore.charts import draw_areas
from pneumothorax.inference.predictions import read_predictions
from pneumothorax.kaggle import COMPETITION
from pneumothorax.kaggle.notebooks import inputs, libraries, session
from pneumothorax.legs import last_leg
from pneumothorax.report.figures import Case, draw_cases, save_figure
from pneumothorax.training.fold_folder import read_recipe
from pneumothorax.training.run import find_folds

session.begin(ACCELERATOR)
libraries.install()
workspace = inputs.make_workspace(COMPETITION)
print("folds:", *inputs.gather_runs(NOTEBOOKS, workspace))
run = inputs.find_run(RUN, workspace)


def pneumothorax(*words: object) -> None:
    """Run a command of the package; a mistake ends the notebook."""
    assert main([*map(str, words), "--root", str(workspace.root), "--debug"]) == 0


# %% [markdown]
# ## From images to a submission

# %%
recipe = last_leg(read_recipe(find_folds(run)[0]))
pneumothorax("prepare", "--size", recipe.size, "--interpolation", recipe.interpolation)
pneumothorax("tune", run.name)
pneumothorax("predict", run.name)
csv = mounts.working() / "submission.csv"
pneumothorax("submit", run.name, "--write-only", "--out", csv, *shlex.split(FLAGS))

# %% [markdown]
# ## The submission
# Areas of the predicted masks, and some of them on their images. Nothing is sent from here: use *Submit* on
# the output's page, or `pneumothorax submit --file` at home.

# %%
rows = read_annotations(csv)
areas = rows["EncodedPixels"].map(rle.area).to_numpy()
figures = workspace.root / "figures"
save_figure(draw_areas(areas), figures / "areas.png")
display(Image(filename=str(figures / "areas.png")))

# %%
paths = read_predictions(run / "predictions" / "test").studies.set_index("ImageId")["path"]
marked = np.flatnonzero(areas)
cases = []
for row in marked[:: max(1, len(marked) // 10)][:10]:
    name, code = rows.loc[row, "ImageId"], rows.loc[row, "EncodedPixels"]
    image = read_radiograph(Path(paths[name])).pixels
    cases.append(Case(f"{name[-12:]}, {areas[row]:,} px", image, None, rle.decode(code, image.shape)))
if cases:
    draw_cases({"predicted": cases[:5], "more": cases[5:]}, figures / "cases.png")
    display(Image(filename=str(figures / "cases.png")))
