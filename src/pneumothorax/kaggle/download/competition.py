"""The competition and a source of training images -> data/raw, whole or not at all.

An archive is fetched into data/downloads, checked, unpacked into a folder of its own below data/raw, and
removed. Files that are there are not fetched again. Knows the counts that the real files should have.
"""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pneumothorax.data.studies import find_studies
from pneumothorax.errors import UserError
from pneumothorax.kaggle import COMPETITION
from pneumothorax.kaggle.download.archive import extract
from pneumothorax.kaggle.download.zip_checks import CorruptArchiveError, check_sizes, gigabytes, read_members
from pneumothorax.kaggle.errors import RefusedError
from pneumothorax.workspace import Workspace, locked

if TYPE_CHECKING:  # the client is imported when a command needs it
    from pneumothorax.kaggle.client import Client

TEST_IMAGES, ANNOTATED, POSITIVE = 3205, 12047, 2669
# Largest size of an unpacked dataset, as a multiple of its archive: radiographs hardly shrink.
MOST_EXPANSION = 20


def is_complete(workspace: Workspace, source: str) -> bool:
    """Return whether nothing has to be downloaded, whatever the files' origin.

    Args:
        workspace: Where.
        source: Dataset 'owner/slug' with the training images, or 'none'.
    """
    return not _lacking(workspace, source)


def download(workspace: Workspace, source: str, client: "Client") -> None:
    """Fetch missing files; wait for another download into the same folder.

    Raises:
        UserError: Kaggle refuses, the disk is too small, or an archive is not the expected one.
    """
    workspace.downloads.mkdir(parents=True, exist_ok=True)
    with locked(workspace.downloads, f"another download writes to {workspace.downloads}"):
        for slug in _lacking(workspace, source):
            archive = workspace.downloads / f"{slug}.zip"
            if slug == COMPETITION:
                listing = client.list_files(COMPETITION)
                size = sum(listing.values())
                if not size:
                    raise UserError("Kaggle lists no files of the competition", "some", "try again later")
                admit = partial(_admit, workspace.data, size)
                client.fetch_competition(COMPETITION, archive, admit)
                _unpack(archive, workspace.raw / slug, listing, size)
            else:
                _fetch_dataset(client, source, archive, workspace.data)
                _unpack(archive, workspace.raw / slug, {}, MOST_EXPANSION * archive.stat().st_size)


def clear_archives(workspace: Workspace, source: str) -> None:
    """Remove archives whose content is there: a kill came between the two."""
    left = [
        workspace.downloads / f"{slug}.zip" for slug in _slugs(source) if _has_files(workspace.raw / slug)
    ]
    if any(path.is_file() for path in left):
        with locked(workspace.downloads, f"another download writes to {workspace.downloads}"):
            for path in left:
                path.unlink(missing_ok=True)


def check_counts(raw: Path, *, with_training: bool) -> tuple[dict[str, int], list[str]]:
    """Count the files.

    Args:
        raw: The folder.
        with_training: Whether training images should be there, all of them.

    Returns:
        The counts by name, and the differences from the real competition, in words.
    """
    counts = find_studies(raw).counts
    wanted = {"test": TEST_IMAGES}
    if with_training:
        wanted |= {"annotated": ANNOTATED, "positive": POSITIVE}
    return counts, [
        f"{counts[name]:,} {name} images, expected {number:,}"
        for name, number in wanted.items()
        if counts[name] != number
    ]


def _lacking(workspace: Workspace, source: str) -> list[str]:
    """Name the archives whose content is not below data/raw."""
    lacking = [slug for slug in _slugs(source) if not _has_files(workspace.raw / slug)]
    if not lacking or not _has_files(workspace.raw):
        return lacking
    try:
        counts = find_studies(workspace.raw).counts  # unpacked by hand, perhaps, under names of its own
    except UserError:
        return lacking
    rows = counts["annotated"] + counts["annotated without an image"]
    has_competition = counts["test"] >= TEST_IMAGES and rows >= ANNOTATED
    has_training = counts["annotated"] >= ANNOTATED
    return [slug for slug in lacking if not (has_competition if slug == COMPETITION else has_training)]


def _slugs(source: str) -> list[str]:
    """Name the archives that belong to the data, by their folders below data/raw."""
    return [COMPETITION] + ([] if source == "none" else [_folder(source)])


def _folder(source: str) -> str:
    """Name a dataset's folder: as Kaggle does, but for a dataset that is named like the competition."""
    slug = source.split("/")[1]
    return source.replace("/", "-") if slug == COMPETITION else slug


def _has_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _fetch_dataset(client: "Client", source: str, archive: Path, data: Path) -> None:
    try:
        # An archive of radiographs unpacks to about its own size.
        client.fetch_dataset(source, archive, partial(_admit, data, 0))
    except RefusedError as error:
        if error.status not in (403, 404):  # Kaggle hides whether a private dataset is there
            raise
        raise RefusedError(
            error.status,
            f"Kaggle has no dataset {source} that these credentials may see ({error.status})",
            "a source of training images",
            "choose another by --source: jesperdramsch, vbookshelf, or any OWNER/DATASET with stage-1 images",
        ) from None


def _admit(data: Path, unpacked: int, archive: int, missing: int) -> None:
    """Refuse a download that the disk cannot hold, archive and content side by side."""
    free, needed = shutil.disk_usage(data).free, missing + max(unpacked, archive)
    if needed > free:
        raise UserError(
            f"{gigabytes(free)} free on the disk of {data}",
            f"{gigabytes(needed)} for the archive and its contents",
            "free some, or choose another --root; nothing more was downloaded",
        )


def _unpack(archive: Path, folder: Path, listing: dict[str, int], limit_bytes: int) -> None:
    """Check an archive, unpack it, and remove it; a damaged one is removed as well."""
    try:
        members = read_members(archive)
        try:
            check_sizes(members, listing, limit_bytes)
        except UserError as error:
            remedy = "delete it and run the same command again"
            raise UserError(f"{archive}: {error.found}", error.expected, remedy) from None
        found = extract(archive, folder, title=f"unpack {folder.name}")
    except CorruptArchiveError as error:
        archive.unlink()
        raise UserError(error.found, error.expected, "it was removed; run the same command again") from None
    archive.unlink()
    twice = f"; {found.copies:,} images were in it twice, and are here once" if found.copies else ""
    print(f"{folder}: {found.files:,} files, {gigabytes(found.bytes)}{twice}", file=sys.stderr)
