"""Publishing on Hugging Face and reading back, by the genuine huggingface_hub in front of a stand-in."""

from importlib.util import find_spec

import pytest
from tests.forks import KERAS
from tests.hubs.standin_huggingface import READER, TOKEN, USER, HubStandIn, Repo
from tests.hubs.test_fetching import FETCH, listed
from tests.kaggle.outcomes import assert_refused
from tests.kaggle.standin_fork import LIBRARIES
from tests.kaggle.standin_kit import KIT, Program
from tests.publishing.runs import files_of, secrets_of

pytestmark = pytest.mark.slow

needs_hub = pytest.mark.skipif(
    find_spec("huggingface_hub") is None,
    reason="huggingface_hub is not installed: pip install -e '.[huggingface]'",
)
NAME = f"{USER}/pneumothorax-strong"
WORDS = ("publish", "strong", "--to", "huggingface", "--no-onnx", "--timeout", "300")


class HubProgram(Program):
    """A program that sees the stand-in; after a test, no token may have leaked."""

    def close(self):
        for result in self._results:
            assert TOKEN not in result.stdout + result.stderr
        assert not any(TOKEN.encode() in content for content in files_of(self.workspace).values())
        for request in self.standin.requests:
            assert request.host == self.standin.host, (
                f"a foreign host was called: {request.host}{request.path}"
            )
            assert "telemetry" not in request.path
            assert "agent" not in request.path


@pytest.fixture
def hub():
    """A Hugging Face without models."""
    with HubStandIn() as standin:
        yield standin


@pytest.fixture
def kit(hub, published, tmp_path, tmp_path_factory):
    """Runs `pneumothorax <words>` where the run's folder is written but for its texts."""
    program = HubProgram(KIT, hub, tmp_path, tmp_path_factory.mktemp("home"), (*LIBRARIES, *KERAS))
    yield program
    program.close()


@needs_hub
def test_a_run_becomes_a_private_model_in_one_commit_and_only_once(kit, hub, published):
    result = kit(*WORDS)
    assert result.code == 0, result
    model = hub.models[NAME]
    assert f"hf://{NAME}@{model.sha()}: 6 files" in result.stdout
    assert model.private
    assert len(model.commits) == 2
    files = dict(model.commits[-1])
    del files[".gitattributes"]
    assert files == files_of(published / "published" / "huggingface")
    assert f"hf://{NAME}" in files["README.md"].decode()
    for secret in secrets_of(published):
        assert not any(secret in request.content for request in hub.requests), secret
    uploads = len(hub.calls("PUT /lfs"))
    result = kit(*WORDS)
    assert "has these files already; nothing was uploaded" in result.stdout, result
    assert len(model.commits) == 2
    assert len(hub.calls("PUT /lfs")) == uploads


@needs_hub
def test_a_changed_card_is_a_commit_without_the_weights(kit, hub):
    assert kit(*WORDS, "--public").code == 0
    assert not hub.models[NAME].private
    hub.models[NAME].commits[-1]["fold7/recipe.json"] = b"of an earlier run"
    uploads = len(hub.calls("PUT /lfs"))
    result = kit(*WORDS, "--data", "Films of ours.")
    assert result.code == 0, result
    assert len(hub.models[NAME].commits) == 3
    assert b"Films of ours" in hub.models[NAME].commits[-1]["README.md"]
    assert "fold7/recipe.json" not in hub.models[NAME].commits[-1]
    assert len(hub.calls("PUT /lfs")) == uploads


@needs_hub
@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("PUT /lfs", {"times": 9, "reset": True}),
        ("POST /commit/", {"reset": True}),
        ("POST /commit/", {"lost_answer": True}),
        ("POST /repos/create", {"lost_answer": True}),
    ],
)
def test_a_lost_connection_is_one_line_and_the_same_command_resumes(kit, hub, published, where, fault):
    hub.fail(where, **fault)
    assert_refused(kit(*WORDS), "the connection broke off", "run the same command again")
    hub.heal()
    arrived = dict(hub.objects)
    result = kit(*WORDS)
    assert result.code == 0, result
    assert len(hub.models[NAME].commits) == 2
    assert (
        hub.models[NAME].commits[-1]["README.md"]
        == (published / "published" / "huggingface" / "README.md").read_bytes()
    )
    put = [request.path.rpartition("/")[2] for request in hub.calls("PUT /lfs") if request.status == 200]
    assert sorted(put) == sorted({*put}), "nothing is uploaded twice"
    assert set(arrived) <= set(hub.objects)


@needs_hub
def test_tokens_that_are_missing_wrong_or_may_not_write_are_one_line(kit, hub):
    for token, words in (
        (None, ["no token of Hugging Face", "$HF_TOKEN"]),
        ("hf_wrong", ["does not know the token (401)"]),
        (READER, ["may not write there (403)", "a token with write access"]),
    ):
        assert_refused(kit(*WORDS, environment={"HF_TOKEN": token}), *words)
    assert not hub.models


@needs_hub
def test_names_of_others_and_models_with_other_files_are_refused(kit, hub):
    assert_refused(kit(*WORDS, "--name", "somebody/model"), "may not write there (403)")
    hub.models[NAME] = Repo(commits=[{".gitattributes": b"", "model.safetensors": b"x"}])
    assert_refused(kit(*WORDS), "holds other files (model.safetensors)", "choose another --name")
    assert len(hub.models[NAME].commits) == 1


@needs_hub
def test_without_a_network_it_is_one_line(kit, hub):
    result = kit(*WORDS, environment={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert_refused(result, "the connection broke off", "expected a connection to Hugging Face")
    assert hub.requests == []


def test_without_the_library_the_extra_is_named(kit):
    code = "import sys; sys.modules['huggingface_hub'] = None\n" + KIT[1]
    program = Program(("-c", code), kit.standin, kit.workspace, kit.home)
    assert_refused(program(*WORDS), "needs huggingface_hub", "pip install -e '.[huggingface]'")


@needs_hub
def test_a_published_model_is_read_back_by_branch_or_commit(hub, tmp_path, tmp_path_factory):
    files = {"README.md": b"card", "encoder.weights.h5": b"e" * 500, "fold0/best.weights.h5": b"w" * 9_000}
    hub.models["somebody/model"] = Repo(False, [listed(files)])
    home = tmp_path_factory.mktemp("home")
    program = HubProgram(FETCH, hub, tmp_path, home)

    def fetch(text, **options):
        return program("segment", "x", "--out", "y", "--run", text, **options)

    hub.fail("GET /resolve/", status=403, after=2)
    assert_refused(fetch("hf://somebody/model"), "(403)")
    hub.heal()
    result = fetch("hf://somebody/model", environment={"HF_TOKEN": None})
    assert result.code == 0, result
    folder = tmp_path / result.stdout.strip()
    commit = hub.models["somebody/model"].sha()
    assert folder.name == f"hf--somebody--model--{commit}"
    assert files_of(folder) == listed(files), "nothing of the library's own stays"
    count = len(hub.requests)
    assert fetch(f"hf://somebody/model@{commit}").code == 0
    assert len(hub.requests) == count
    assert_refused(fetch("hf://somebody/model@v9"), "no model hf://somebody/model@v9")
    assert_refused(fetch("hf://somebody/nothing"), "no model hf://somebody/nothing")
    hub.models["somebody/model"].commits.append(
        listed(files, **{"README.md": {"sha256": "0" * 64, "bytes": 4}})
    )
    assert_refused(fetch("hf://somebody/model"), "README.md", "is not as its list says")
    hub.models["somebody/model"].commits.append({"model.pkl": b"\x80\x04"})
    assert_refused(fetch("hf://somebody/model"), "404")
    program.close()
