# %% [markdown]
# # Pneumothorax: train
# Trains folds of one recipe and leaves them in `runs/<run>/fold<k>`, the notebook's output. It stops by
# itself before Kaggle's twelve hours are over; attached to the next version as input, the output lets it
# resume, to the same weights as in one session. The notebook *submit* makes a submission of it.
#
# Needs: the competition (accept its rules first), a dataset with the training images, and GPU T4 x2 or
# TPU v5e-8.

# %% tags=["parameters"]
RECIPE = "seed"  # seed, or another recipe of recipes.py below; or the path, or the text, of a recipe.json
RUN = ""  # name of the run; the recipe's name when empty
FOLDS = "0"  # such as 0, or 0,2, or 0-4
FLAGS = ""  # changes to the recipe, such as --size 256 --epochs 60
MAX_HOURS = 11.5  # from the start of this session; Kaggle ends it at 12, on a TPU at 9: 8.5 at most there
ACCELERATOR = "gpu"  # T4 x2; tpu: TPU v5e-8, by JAX; cpu for a try
DATASET = "jesperdramsch/siim-acr-pneumothorax-segmentation-data"  # training images
PREVIOUS = []  # outputs to resume from, such as me/pneumothorax-train; every attached one when empty

# %% [markdown] tags=["package"]
# ## The package
# The next cells write the package `pneumothorax`, all that this notebook runs, and check that it arrived
# whole. They are made from the repository: change it there.

# %% [markdown]
# ## The session

# %%
import shlex

from IPython.display import Image, display

from pneumothorax import mounts
from pneumothorax.cli import main
from pneumothorax.kaggle import COMPETITION
from pneumothorax.kaggle.notebooks import inputs, libraries, session
from pneumothorax.recipes import find_recipe

chosen = find_recipe(RECIPE)
recipe = ["--recipe", RECIPE, *shlex.split(FLAGS)]
run = RUN or chosen.name
session.begin(ACCELERATOR)
libraries.install(recipe)
print("ImageNet weights attached:", *inputs.offer_weights() or ["none; they are downloaded"])
workspace = inputs.make_workspace(COMPETITION, [DATASET], keep_runs=True)
# A run that begins with another's weights (--init-from) finds that one alone at first.
begins = "--init-from" in FLAGS or chosen.init_from
gathered = inputs.gather_runs(PREVIOUS, workspace, "" if begins else run)
print("resumes from:", *gathered or ["nothing, starts training"])


def pneumothorax(*words: object) -> None:
    """Run a command of the package; a mistake ends the notebook."""
    assert main([*map(str, words), "--root", str(workspace.root), "--debug"]) == 0


# %% [markdown]
# ## Images to arrays

# %%
pneumothorax("prepare", *recipe)

# %% [markdown]
# ## Training

# %%
hours = session.hours_left(MAX_HOURS, ACCELERATOR)
pneumothorax("train", *recipe, "--run", run, "--fold", FOLDS, "--max-hours", f"{hours:.3f}")

# %% [markdown]
# ## Results

# %%
if unfinished := inputs.list_unfinished(workspace.runs / run):
    print(f"not finished: {', '.join(unfinished)}. `make push KERNEL=train ARGS=--resume` resumes it.")
else:
    pneumothorax("figures", run)
    for figure in sorted((workspace.runs / run / "figures").glob("*.png")):
        display(Image(filename=str(figure)))
    pneumothorax("tune", run)
    pneumothorax("report", run, "--out", mounts.working() / "report.html")  # opens from the output's page
