"""The command for radiographs of one's own: files in, masks and a table out."""

from argparse import Namespace

from pneumothorax.commands.networks import chosen_networks
from pneumothorax.segmentation import results
from pneumothorax.segmentation.pipeline import check_rows, segment_images


def segment(options: Namespace) -> int:
    """Find and outline a pneumothorax in a file or a folder of radiographs."""
    networks, decision = chosen_networks(options)
    rows = segment_images(
        options.images,
        networks,
        decision.rule,
        options.out,
        objects=[kind for kind in ("dicom_seg", "dicom_sc") if getattr(options, kind)],
        identify=options.identify,
        skip_bad=options.skip_bad,
    )
    print(results.describe(rows))
    print(f"{options.out}: {results.CSV}, {results.JSON}, masks and overlays; {results.NOTE}")
    check_rows(rows, skip_bad=options.skip_bad)
    return 0
