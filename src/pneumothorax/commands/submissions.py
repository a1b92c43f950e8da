"""Commands on submissions: write, submit, validate, score, and fetch Kaggle's scores."""

import json
from argparse import Namespace
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from pneumothorax.commands.rules import RULE, chosen_decision, warn_if_older, warn_if_useless
from pneumothorax.commands.run_folders import run_folder
from pneumothorax.data import rle
from pneumothorax.data import studies as found
from pneumothorax.data.annotations import read_annotations
from pneumothorax.errors import UserError, warn
from pneumothorax.inference import decision as deciding
from pneumothorax.inference.ensemble import changed_members, describe_members, read_ensemble
from pneumothorax.inference.predictions import Predictions, read_predictions
from pneumothorax.recipes import describe
from pneumothorax.source import find_commit
from pneumothorax.submission import ledger, table
from pneumothorax.training.fold_folder import read_recipe
from pneumothorax.training.run import find_folds
from pneumothorax.workspace import Workspace


def submit(options: Namespace) -> int:
    """Write a submission CSV from a run, or take one, and submit it."""
    workspace = Workspace(options.root)
    if options.file is None:
        path = _write(workspace, options)
    else:
        path = options.file
        if unused := [name for name in (*RULE, "out") if getattr(options, name) is not None]:
            flag = "--" + unused[0].replace("_", "-")
            raise UserError(f"{flag} with --file", "a run to write a CSV from", "leave one of them out")
        rows = table.validate(path, _sample(options))
        print(f"{path}: {rows:,} rows, valid")
    if options.write_only:
        return 0
    return _send(workspace, path, options)


def validate(options: Namespace) -> int:
    """Check a submission CSV."""
    rows = table.validate(options.file, _sample(options))
    print(f"{options.file}: {rows:,} rows, valid")
    return 0


def score(options: Namespace) -> int:
    """Score a submission CSV."""
    result = table.score(options.file, options.truth)
    if options.json:
        print(json.dumps(asdict(result)))
        return 0
    if lacking := read_annotations(options.truth)["ImageId"].nunique() - result.images:
        warn(f"{lacking:,} images of {options.truth} are not in {options.file} and were not scored")
    all_empty = 1 - result.positives / result.images
    print(
        f"mean Dice {result.mean_dice:.4f} over {result.images:,} images (all-empty scores {all_empty:.4f})"
    )
    for kind, number, value in (
        ("positive", result.positives, result.dice_positive),
        ("negative", result.images - result.positives, result.dice_negative),
    ):
        if value is not None:
            print(f"  {value:.4f} on {number:,} {kind} ones")
    return 0


def leaderboard(options: Namespace) -> int:
    """Fetch the scores of all recorded submissions and write them as a table."""
    workspace = Workspace(options.root)
    if not ledger.read(workspace.ledger):
        raise UserError(f"nothing in {workspace.ledger}", "a submission", "run `pneumothorax submit` first")
    from pneumothorax.kaggle.client import connect
    from pneumothorax.kaggle.submitting import refresh

    added, entries = refresh(connect(options.timeout, options.tries), workspace.ledger)
    readme = workspace.submissions / "README.md"
    ledger.write_leaderboard(readme, entries)
    count = sum(entry.event != "failed" for entry in entries)
    print(f"{readme}: {count} submission{'s' * (count != 1)}, {added} with news")
    return 0


def _write(workspace: Workspace, options: Namespace) -> Path:
    """Write and validate the CSV of a run, with a record of how it was made."""
    run = run_folder(options)
    decision = chosen_decision(run, options)
    predictions = read_predictions(run / "predictions" / options.set)
    recipe = _origin(run, predictions)
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    out: Path = options.out or workspace.submissions / f"{time}-{run.name}.csv"
    rule = str(decision.rule)
    score = "" if decision.score is None else f"{decision.score:.4f}"
    record = ledger.Record(
        run=run.name,
        recipe=recipe,
        decision=rule,
        local_score=score,
        commit=find_commit(),
    )
    rows = deciding.encode_all(predictions, decision.rule)
    table.write_submission(out, rows, _sample(options), lambda whole: ledger.write_record(out, record, whole))
    empty = sum(code == rle.EMPTY for code in read_annotations(out)["EncodedPixels"])
    print(f"{out}: {len(predictions.studies):,} rows, valid, {empty:,} empty ({rule})")
    return out


def _origin(run: Path, predictions: Predictions) -> str:
    """Describe how a run was made, and warn where its predictions or its decision are older than that."""
    if members := read_ensemble(run):
        for name in changed_members(run, predictions.folder, members):
            warn(f"{run} is older than the predictions of {name}; run `pneumothorax ensemble` again")
        return describe_members(members)
    trained = find_folds(run)
    warn_if_useless(trained)
    warn_if_older(predictions.folder / "studies.csv", trained, "predict")
    warn_if_older(run / "decision.json", trained, "tune")
    return describe(read_recipe(trained[0]))


def _send(workspace: Workspace, path: Path, options: Namespace) -> int:
    """Submit a valid CSV and wait for its score."""
    from pneumothorax.kaggle import submitting
    from pneumothorax.kaggle.client import connect

    record, book = ledger.read_record(path), workspace.ledger
    entry = ledger.Entry(file=path.name, sha256=ledger.digest(path), **asdict(record))
    submitting.refuse_known(book, entry)
    client = connect(options.timeout, options.tries)
    local = f", local {record.local_score}" if record.local_score else ""
    message = options.message or (f"{record.run}: {record.decision}{local}" if record.run else path.name)
    if options.dry_run:
        print(submitting.check_limits(client))
        print(f"dry run: nothing was sent; the description would be {message!r}")
        return 0
    with ledger.lock(book):
        submitting.refuse_known(book, entry)  # another command may have submitted it meanwhile
        there = submitting.adopt(client, book, entry)
        if there is None:
            print(submitting.check_limits(client))
            there = submitting.submit(client, path, book, entry, message)
    print(f"submitted {path.name}: ref {there.ref}")
    try:
        scored = submitting.wait(client, book, there, options.wait)
    finally:
        ledger.write_leaderboard(workspace.submissions / "README.md", ledger.read(book))
    if scored is None:
        print(
            f"not scored after {options.wait:g} minutes; `pneumothorax leaderboard` fetches the score later"
        )
    else:
        print(f"public {scored.public_score}, private {scored.private_score}{local}")
    return 0


def _sample(options: Namespace) -> Path:
    """Find the sample submission."""
    sample: Path | None = options.sample or found.find_sample(Workspace(options.root).raw)
    if sample is None or not sample.is_file():
        raise UserError(
            f"no sample submission ({sample or Workspace(options.root).raw})",
            "stage_2_sample_submission.csv below ROOT/data/raw",
            "run `make download`, or name it with --sample",
        )
    return sample
