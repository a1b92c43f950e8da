"""The report of a run, against decoding, shrinking and compressing the same radiographs once.

    python benchmarks/report.py [--cases 377] [--size 128] [--images FOLDER]

The run is made by hand: maps of blurred lesions on the images of FOLDER, or of an artificial competition.
Where Chromium and its driver are installed, the page's first paint and the time of a filter are measured.
"""

import argparse
import os
import shutil
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from pneumothorax.data import rle
from pneumothorax.data.dicom import read_radiograph
from pneumothorax.data.studies import find_images
from pneumothorax.inference.predictions import write_predictions
from pneumothorax.phantom import make_competition
from pneumothorax.recipe import to_json
from pneumothorax.recipes import RECIPES
from pneumothorax.report.run_page import write_report
from pneumothorax.workspace import Workspace
from timing import describe_machine, print_ratio

HISTORY = "epoch,loss,mean_dice,val_loss,val_mean_dice,learning_rate,seconds\n1,2,0.1,2.5,0.2,0.001,60\n"


def make_run(root: Path, paths: list[str], size: int) -> Path:
    generator = np.random.default_rng(0)
    records, maps = [], []
    for number, path in enumerate(paths):
        mask = np.zeros(rle.SHAPE, np.uint8)
        if number % 4 == 0:
            centre, axes = generator.integers(200, 800, 2).tolist(), generator.integers(20, 150, 2).tolist()
            cv2.ellipse(mask, centre, axes, 30.0, 0, 360, 1, -1)
        soft = cv2.GaussianBlur(cv2.resize(mask * 255, (size, size), interpolation=cv2.INTER_AREA), (0, 0), 2)
        noise = cv2.GaussianBlur(generator.normal(0, 200, (size, size)), (0, 0), 4)
        maps.append(np.clip(np.roll(soft, 2, 1) + noise, 0, 255).astype(np.uint8))
        known = {"path": path, "EncodedPixels": rle.encode(mask), "area": int(mask.sum())}
        facts = {"height": 1024, "width": 1024, "view": "PA", "sex": "F", "age": 50, "patient": f"p{number}"}
        records.append({"ImageId": f"image-{number}", **known, **facts})
    fold = root / "runs" / "hand" / "fold0"
    write_predictions(fold / "out_of_fold", [np.stack(maps)], pd.DataFrame(records), size)
    (fold / "best.weights.h5").touch()
    (fold / "recipe.json").write_text(to_json(RECIPES["strong"]))
    (fold / "history.csv").write_text(HISTORY)
    return fold.parent


def compress(paths: list[str]) -> None:
    for path in paths:
        shrunk = cv2.resize(read_radiograph(Path(path)).pixels, (640, 640), interpolation=cv2.INTER_AREA)
        cv2.imencode(".jpg", shrunk, [cv2.IMWRITE_JPEG_QUALITY, 82])


def measure_browser(page: Path) -> None:
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        return
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        paints, loads, filters = [], [], []
        for _ in range(5):
            browser.get("about:blank")
            browser.get(page.as_uri())
            time.sleep(0.5)
            paints.append(
                browser.execute_script("return performance.getEntriesByType('paint').at(-1).startTime")
            )
            loads.append(
                browser.execute_script(
                    "return performance.timing.loadEventEnd - performance.timing.navigationStart"
                )
            )
            browser.execute_script("location.hash = '#/cases?outcome=found'")
            time.sleep(0.3)
            filters.append(float(browser.execute_script("return filters.dataset.milliseconds")))
    finally:
        browser.quit()
    for name, values in (("first paint", paints), ("loaded", loads), ("filter", filters)):
        print(f"{name} in Chromium: {np.median(values):.0f} ms (median of five)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=377)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, images = Path(folder), options.images
        if images is None:
            make_competition(root / "data", train=min(options.cases, 400), test=0)
            images = root / "data" / "raw"
        paths = list(islice(cycle(find_images(images)["path"]), options.cases))
        run, page = make_run(root, paths, options.size), root / "report.html"
        compress(paths[:20])
        began = time.perf_counter()
        compress(paths[:400])
        bare = time.perf_counter() - began
        began = time.perf_counter()
        write_report(Workspace(root), [run], page)
        took = time.perf_counter() - began
        print(describe_machine("matplotlib", "jinja2"), f"{os.cpu_count()} cores")
        print(
            f"{options.cases:,} cases of {options.size} px: {took:.1f} s, {page.stat().st_size / 1e6:.1f} MB"
        )
        print_ratio("report / decode, shrink, compress on one core", took / bare, "as little as may be")
        measure_browser(page)


if __name__ == "__main__":
    main()
