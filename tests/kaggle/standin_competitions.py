"""Competitions as the API tells of them: files, submissions, limits, the leaderboard."""

from typing import Any

from tests.kaggle.standin_api import Body, Method, RefusedError, cut_page, instant, redirect, uploaded
from tests.kaggle.standin_state import RULES, USER, Competition, Kaggle, Submission
from tests.kaggle.standin_storage import MODIFIED, Storage
from tests.kaggle.standin_wire import Answer


def list_data_files(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    files = [
        {
            "ref": name,
            "name": name,
            "totalBytes": size if isinstance(size, int) else len(size),
            "creationDate": instant(MODIFIED),
        }
        for name, size in _competition(kaggle, body).files.items()
    ]
    page, following = cut_page(files, body)
    return {"files": page, "childrenFetchTimeMs": 0, **({"nextPageToken": following} if following else {})}


def download_data_files(kaggle: Kaggle, storage: Storage, body: Body) -> Answer:
    competition = _entered(kaggle, body)
    path = f"/kaggle-competitions-data/kaggle-v2/{body['competitionName']}/archive.zip"
    return redirect(storage.publish(path, competition.zipped()))


def download_data_file(kaggle: Kaggle, storage: Storage, body: Body) -> Answer:
    competition, name = _entered(kaggle, body), body["fileName"]
    content = competition.files.get(name)
    if not isinstance(content, bytes):
        raise RefusedError(404, "Not found")
    path = f"/kaggle-competitions-data/kaggle-v2/{body['competitionName']}/files/{name}"
    return redirect(storage.publish(path, content))


def start_submission_upload(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    _entered(kaggle, body)
    return storage.open_upload(body["fileName"], body.get("contentLength", 0))


def create_submission(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    competition = _entered(kaggle, body)
    name, content = uploaded(storage, body.get("blobFileTokens", ""))
    limits = competition.limits
    if limits.allowed_now < 1:
        used = f"({limits.today} of {limits.today}). This resets at midnight UTC (9.4 hours from now)."
        raise RefusedError(403, f"Your team has used its submission allowance {used}")
    outcomes = competition.outcomes
    outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
    everyone = (each.ref for other in kaggle.competitions.values() for each in other.submissions)
    ref = max(everyone, default=40_000_000) + 1
    submission = Submission(ref, name, content, body.get("submissionDescription", ""), outcome)
    competition.submissions.append(submission)
    limits.allowed_now -= 1
    limits.today += 1
    limits.total += 1
    return {"message": f"Successfully submitted to {competition.title}", "ref": ref}


def get_submission_limits(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    limits = _competition(kaggle, body).limits
    return {
        "numToday": limits.today,
        "numTotal": limits.total,
        "numAllowedNow": limits.allowed_now,
        "limitedByTotal": limits.limited_by_total,
    }


def list_submissions(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    competition = _competition(kaggle, body)
    told = [_tell(each, competition) for each in reversed(competition.submissions)]
    size = body.get("pageSize", 20)
    skipped = int(body.get("pageToken") or (body.get("page", 1) - 1) * size)
    page, following = cut_page(told, {"pageSize": size, "pageToken": str(skipped)})
    return {"submissions": page, "nextPageToken": following}


def get_submission(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    for competition in kaggle.competitions.values():
        for submission in competition.submissions:
            if submission.ref == body["ref"]:
                return _tell(submission, competition)
    raise RefusedError(404, "Not found")


def get_leaderboard(kaggle: Kaggle, storage: Storage, body: Body) -> dict[str, Any]:
    ranked = enumerate(_competition(kaggle, body).leaderboard, start=1)
    rows = [
        {"teamId": place, "teamName": team, "score": score, "submissionDate": instant(MODIFIED)}
        for place, (team, score) in ranked
    ]
    page, following = cut_page(rows, body)
    return {"submissions": page, "nextPageToken": following}


def _competition(kaggle: Kaggle, body: Body) -> Competition:
    slug = body.get("competitionName", "")
    if slug not in kaggle.competitions:
        raise RefusedError(404, "Not found")
    return kaggle.competitions[slug]


def _entered(kaggle: Kaggle, body: Body) -> Competition:
    """Return a competition whose rules are accepted."""
    competition = _competition(kaggle, body)
    if not competition.rules_accepted:
        raise RefusedError(403, RULES)
    return competition


def _tell(submission: Submission, competition: Competition) -> dict[str, Any]:
    """Tell how a submission is doing; it moves on by that."""
    outcome, status = submission.outcome, submission.steps.next()
    told = {
        "ref": submission.ref,
        "totalBytes": len(submission.content),
        "date": instant(submission.date),
        "description": submission.description,
        "fileName": submission.file_name,
        "status": status,
        "submittedBy": USER,
        "teamName": competition.team,
        "url": f"https://www.kaggle.com/submissions/{submission.ref}",
    }
    if status == "COMPLETE":
        told |= {"publicScore": outcome.public_score, "privateScore": outcome.private_score}
    if status == "ERROR":
        told |= {"errorDescription": outcome.error}
    return told


METHODS: dict[str, Method] = {
    "competitions.CompetitionApiService/ListDataFiles": list_data_files,
    "competitions.CompetitionApiService/DownloadDataFiles": download_data_files,
    "competitions.CompetitionApiService/DownloadDataFile": download_data_file,
    "competitions.CompetitionApiService/StartSubmissionUpload": start_submission_upload,
    "competitions.CompetitionApiService/CreateSubmission": create_submission,
    "competitions.CompetitionApiService/GetSubmissionLimits": get_submission_limits,
    "competitions.CompetitionApiService/ListSubmissions": list_submissions,
    "competitions.CompetitionApiService/GetSubmission": get_submission,
    "competitions.CompetitionApiService/GetLeaderboard": get_leaderboard,
}
