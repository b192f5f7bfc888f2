"""A person's own folder: a copy is worked on, and only what changed comes back, never through a link, never into `.git`."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from agents.contracts import StepOutcome
from agents.errors import AgentError, FileProblem, Permanent
from agents.executor import ExecutorAgent
from agents.folder import pack, put_back
from agents.llm.scripted import Reply, ScriptedLLM, call


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "my project"
    (folder / "src").mkdir(parents=True)
    (folder / "src/app.py").write_text("x = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "old.txt").write_text("old")
    (folder / ".git/hooks").mkdir(parents=True)
    (folder / ".git/config").write_text("[core]\n")
    return folder


def finish(success: bool) -> Reply:
    return call("finish", success=success, summary="that was it")


def run(command: str) -> Reply:
    return call("run_command", command=command)


def work(folder: Path, *replies: Reply) -> StepOutcome:
    return ExecutorAgent(ScriptedLLM(replies), workspace=folder).execute({"description": "do it"})


def tree(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): p.read_text()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.is_symlink()
    }


def hostile(name: str, tar: bytes) -> bytes:
    """The same archive with one file more, whose name no honest tar has."""
    data = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(tar)) as honest, tarfile.open(fileobj=data, mode="w") as archive:
        for entry in honest:
            archive.addfile(entry, honest.extractfile(entry))
        evil = tarfile.TarInfo(name)
        evil.size = 4
        archive.addfile(evil, io.BytesIO(b"evil"))
    return data.getvalue()


def test_what_the_agent_changed_comes_back_when_it_succeeds(mine: Path) -> None:
    kept = (mine / "run.sh").stat()
    outcome = work(
        mine,
        call("edit_file", path="src/app.py", old="x = 1", new="x = 2"),
        call("write_file", path="new/deep/file.txt", content="new"),
        run("rm old.txt && printf '#!/bin/sh' > tool && chmod +x tool && ls -A"),
        finish(True),
    )
    assert (outcome.success, outcome.summary) == (True, "that was it")
    assert tree(mine) == {
        ".git/config": "[core]\n",
        "new/deep/file.txt": "new",
        "run.sh": "#!/bin/sh\n",
        "src/app.py": "x = 2\n",
        "tool": "#!/bin/sh",
    }
    assert (mine / "tool").stat().st_mode & 0o100
    assert not (mine / "src/app.py").stat().st_mode & 0o111
    assert ((mine / "run.sh").stat().st_mode, (mine / "run.sh").stat().st_mtime_ns) == (kept.st_mode, kept.st_mtime_ns)


def test_nothing_comes_back_when_it_fails(mine: Path) -> None:
    before = tree(mine)
    assert not work(mine, call("write_file", path="src/app.py", content="broken"), finish(False)).success
    assert tree(mine) == before


def test_the_agent_does_not_see_the_git_directory(mine: Path) -> None:
    llm = ScriptedLLM([run("ls -A"), finish(True)])
    ExecutorAgent(llm, workspace=mine).execute("look")
    assert llm.requests[1].messages[-1].content == "exit code 0\nold.txt\nrun.sh\nsrc"


def test_a_git_directory_that_the_agent_makes_stays_behind(mine: Path) -> None:
    work(
        mine,
        run("mkdir -p .git/hooks sub/.git .GIT && echo evil | tee .git/hooks/pre-commit sub/.git/config .GIT/config"),
        finish(True),
    )
    assert [name for name in tree(mine) if "git" in name.lower()] == [".git/config"]
    assert tree(mine)[".git/config"] == "[core]\n"


def test_a_link_of_one_step_is_no_way_out_in_the_next(mine: Path) -> None:
    work(mine, run("ln -s .git g && ln -s /etc/hostname h"), finish(True))
    assert not (mine / "g").is_symlink()
    (mine / "g").symlink_to(".git")
    outside = mine.parent / "outside.txt"
    outside.write_text("mine")
    (mine / "o").symlink_to(outside)
    with pytest.raises(FileProblem, match="cannot be put back"):
        work(mine, run("rm g && mkdir -p g/hooks && echo evil > g/hooks/pre-commit"), finish(True))
    with pytest.raises(FileProblem, match="cannot be put back"):
        work(mine, run("rm o && echo evil > o"), finish(True))
    assert outside.read_text() == "mine"
    assert list((mine / ".git/hooks").iterdir()) == []


def test_a_folder_that_becomes_a_file_and_back(mine: Path) -> None:
    work(mine, run("rm -r src && echo file > src"), finish(True))
    assert (mine / "src").read_text() == "file\n"
    work(mine, run("rm src && mkdir src && echo again > src/app.py"), finish(True))
    assert (mine / "src/app.py").read_text() == "again\n"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", ".git/config", "sub/.GIT/config"])
def test_a_hostile_archive_writes_nothing_outside(mine: Path, name: str) -> None:
    kept, beside = pack(mine), sorted(mine.parent.iterdir())
    refused = (
        contextlib.nullcontext() if "git" in name.lower() else pytest.raises(FileProblem, match="not a relative path")
    )
    with refused:
        put_back(mine, kept, hostile(name, kept.tar))
    assert tree(mine)[".git/config"] == "[core]\n"
    assert sorted(mine.parent.iterdir()) == beside
    assert not Path("/tmp/evil").exists()


def test_odd_files_of_a_person_are_left_out_and_links_go_in(mine: Path) -> None:
    os.mkfifo(mine / "pipe")
    (mine / "loop").symlink_to("loop")
    (mine / "away").symlink_to("/etc")
    with tarfile.open(fileobj=io.BytesIO(pack(mine).tar)) as archive:
        names = {entry.name: entry.type for entry in archive}
    assert names == {
        "away": tarfile.SYMTYPE,
        "loop": tarfile.SYMTYPE,
        "old.txt": tarfile.REGTYPE,
        "run.sh": tarfile.REGTYPE,
        "src/app.py": tarfile.REGTYPE,
    }


def test_a_folder_that_is_too_large_or_missing_is_one_clear_sentence(mine: Path) -> None:
    with (mine / "big").open("wb") as file:
        file.truncate(300 * 1024 * 1024)
    with pytest.raises(Permanent, match="holds more than 256 MiB; name a smaller folder"):
        work(mine)
    with pytest.raises(Permanent, match="there is no folder"):
        work(mine / "nowhere")


def test_without_a_model_it_says_how_to_name_one(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLM_BASE_URL", "LLM_API_KEY", "VENICE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(AgentError, match="no model is set: LLM_BASE_URL="):
        ExecutorAgent(workspace=mine).execute({"description": "do it"})
