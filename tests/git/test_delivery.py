"""The result on its way to the person: only checked objects arrive, only one branch changes."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest
from person import Person

from agents.delivery import DeliveryProblem, apply_patch, checked, deliver
from agents.ports import Command, SandboxProvider, SandboxSpec
from agents.source import read_source
from agents.workspace import Workspace

BRANCH = "compymac/abc123/1"


@pytest.fixture
def work(quick: SandboxProvider, person: Person) -> tuple[list[bytes], str, bytes]:
    """(bundles, commit, patch) of a small change to the person's HEAD."""
    source = read_source(quick, person.path, "HEAD")
    box = quick.open(SandboxSpec(label="test"))
    try:
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        box.run(Command("echo more >> README.md; printf '\\0\\1' > bin; mkdir docs; echo new > docs/new"))
        commit = workspace.commit("the result", 1)
        bundles = [source.bundle, workspace.bundle(source.sha, commit)]
        return bundles, commit, workspace.diff(source.sha, commit).encode("utf-8", "surrogateescape")
    finally:
        box.close()


def hostile(person: Person, tree: str, commit_on: str = "HEAD") -> tuple[bytes, str]:
    """A bundle with a tree that git itself would not make; `tree`: lines for mktree."""
    found = person.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=tree_bytes(person, tree))
    commit = person.git("commit-tree", found, "-p", commit_on, "-m", "evil")
    person.git("update-ref", "refs/evil", commit)
    bundle = person.path.parent / "evil.bundle"
    person.git("bundle", "create", "-q", str(bundle), "refs/evil", f"^{commit_on}")
    person.git("update-ref", "-d", "refs/evil")
    return bundle.read_bytes(), commit


def tree_bytes(person: Person, lines: str) -> bytes:
    out = b""
    for line in lines.splitlines():
        mode, content, name = line.split(" ", 2)
        sha = person.git("hash-object", "-w", "--stdin", stdin=content.encode())
        out += f"{mode} {name}".encode() + b"\0" + bytes.fromhex(sha)
    return out


class TestDelivering:
    def test_only_the_branch_is_new(self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]) -> None:
        bundles, commit, _ = work
        person.write("README.md", "my own words\n")
        person.write("untracked", "x")
        person.git("add", "untracked")
        before, refs = person.state(), person.git("for-each-ref")
        deliver(host / "quarantine", person.path, bundles, commit, BRANCH)
        assert person.state() == before
        assert person.git("for-each-ref") == f"{commit} commit\trefs/heads/{BRANCH}\n{refs}"
        assert not (person.path / ".git/FETCH_HEAD").exists()
        assert list((host / "quarantine").iterdir()) == []

    def test_an_earlier_result_of_the_same_rollout_is_replaced(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        person.git("branch", BRANCH, "HEAD~1")
        deliver(host / "q", person.path, bundles, commit, BRANCH)
        deliver(host / "q", person.path, bundles, commit, BRANCH)
        assert person.git("rev-parse", BRANCH) == commit

    def test_a_linked_work_tree_gets_the_branch_too(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        person.git("worktree", "add", "-q", str(host / "linked"), "-b", "other")
        deliver(host / "q", host / "linked", bundles, commit, BRANCH)
        assert person.git("rev-parse", BRANCH) == commit

    def test_nothing_that_the_repository_configures_is_run(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        marker = host / "marker"
        for hook in ("reference-transaction", "post-checkout", "post-merge", "pre-auto-gc", "post-index-change"):
            path = person.path / ".git/hooks" / hook
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"#!/bin/sh\ntouch {marker}\n")
            path.chmod(0o755)
        for name in ("core.fsmonitor", "core.alternateRefsCommand", "core.sshCommand", "uploadpack.packObjectsHook"):
            person.git("config", name, f"touch {marker};:")
        for name, value in (("fetch.prune", "true"), ("fetch.pruneTags", "true"), ("gc.auto", "1")):
            person.git("config", name, value)
        person.git("-c", "core.hooksPath=/dev/null", "tag", "keep")
        deliver(host / "q", person.path, bundles, commit, BRANCH)
        assert not marker.exists()
        assert person.git("-c", "core.fsmonitor=false", "tag").split() == ["keep"]

    def test_a_folder_that_became_a_link_gets_nothing(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        (host / "thief").symlink_to(person.path)
        with pytest.raises(DeliveryProblem, match="leads elsewhere"):
            deliver(host / "q", host / "thief", bundles, commit, BRANCH)
        assert person.git("branch", "--list", BRANCH) == ""

    def test_a_repository_cannot_send_the_fetch_to_a_command(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        marker = host / "marker"
        person.git("config", "protocol.ext.allow", "always")
        person.git("config", f"url.ext::touch {marker} .insteadOf", f"{host}/")
        with contextlib.suppress(DeliveryProblem):
            deliver(host / "q", person.path, bundles, commit, BRANCH)
        assert not marker.exists()

    def test_the_objects_that_a_repository_borrows_are_not_listed_by_its_command(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        bundles, commit, _ = work
        marker = host / "marker"
        person.git("clone", "-q", "--shared", str(person.path), str(host / "borrowing"))
        borrowing = Person(host / "borrowing")
        borrowing.git("config", "core.alternateRefsCommand", f"touch {marker};:")
        deliver(host / "q", borrowing.path, bundles, commit, BRANCH)
        assert not marker.exists()

    def test_an_old_history_that_fails_todays_rules_is_no_obstacle(
        self, host: Path, quick: SandboxProvider, person: Person
    ) -> None:
        raw = person.git("cat-file", "commit", "HEAD").replace("+0000", "+051800").encode() + b"\n"
        odd = person.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
        person.git("reset", "-q", "--hard", odd)
        source = read_source(quick, person.path, "HEAD")
        box = quick.open(SandboxSpec(label="test"))
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        box.write("new", b"x")
        commit = workspace.commit("x", 1)
        bundles = [source.bundle, workspace.bundle(source.sha, commit)]
        box.close()
        deliver(host / "q", person.path, bundles, commit, BRANCH)
        assert person.git("rev-parse", BRANCH) == commit


class TestRefusals:
    @pytest.mark.parametrize(
        ("tree", "said"),
        [
            ("100644 x .GIT", "hasDotgit"),
            ("100644 x .git", "hasDotgit"),
            ("100644 x git~1", "hasDotgit"),
            ("100644 x ..", "hasDotdot"),
            ("100644 x a/b", "fullPathname"),
            ("120000 /etc/passwd .gitmodules", "gitmodulesSymlink"),
            ('100644 [submodule\t"x"]\turl=-evil\tpath=x .gitmodules', "gitmodules"),
            ("100644 x b\n100644 x a", "treeNotSorted"),
        ],
    )
    def test_a_hostile_tree_is_refused_by_name(
        self, host: Path, quick: SandboxProvider, person: Person, tree: str, said: str
    ) -> None:
        base = read_source(quick, person.path, "HEAD").bundle
        bundle, commit = hostile(person, tree)
        shutil.rmtree(person.path)
        person.begin()
        refs = person.git("for-each-ref")
        with pytest.raises(DeliveryProblem, match=said):
            deliver(host / "q", person.path, [base, bundle], commit, BRANCH)
        assert person.git("for-each-ref") == refs
        assert person.try_git("cat-file", "-e", commit).returncode != 0

    def test_a_commit_that_is_not_in_the_bundles_is_refused(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        with pytest.raises(DeliveryProblem):
            deliver(host / "q", person.path, work[0], "f" * 40, BRANCH)

    @pytest.mark.parametrize("damage", [b"", b"no bundle", None], ids=["empty", "none", "cut"])
    def test_a_damaged_bundle_is_refused(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes], damage: bytes | None
    ) -> None:
        (base, more), commit, _ = work
        with pytest.raises(DeliveryProblem):
            deliver(host / "q", person.path, [base, more[:-40] if damage is None else damage], commit, BRANCH)
        assert person.git("branch", "--list", "compymac/*") == ""

    def test_a_branch_that_is_checked_out_is_left_alone(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        person.git("checkout", "-q", "-b", BRANCH)
        before = person.state()
        with pytest.raises(DeliveryProblem, match="checked out"):
            deliver(host / "q", person.path, work[0], work[1], BRANCH)
        assert person.state() == before

    def test_a_branch_in_the_way_and_a_folder_that_is_gone_are_said(
        self, host: Path, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        person.git("branch", "compymac")
        with pytest.raises(DeliveryProblem, match="compymac"):
            deliver(host / "q", person.path, work[0], work[1], BRANCH)
        with pytest.raises(DeliveryProblem):
            deliver(host / "q", host / "gone", work[0], work[1], BRANCH)

    def test_every_object_of_the_result_arrives_checked(self, host: Path, work: tuple[list[bytes], str, bytes]) -> None:
        clean = Person(checked(host, work[0], work[1]))
        assert clean.git("fsck", "--strict", "--full") == ""
        assert clean.git("log", "--format=%s", "refs/heads/result").split("\n")[0] == "the result"


class TestApplying:
    def test_the_patch_is_on_the_tree_and_not_in_the_index(
        self, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        patch = work[2]
        index = (person.path / ".git/index").read_bytes()
        apply_patch(person.path, patch)
        assert (person.path / ".git/index").read_bytes() == index
        assert sorted(person.git("status", "--porcelain").splitlines()) == ["?? bin", "?? docs/", "M README.md"]
        assert (person.path / "bin").read_bytes() == b"\0\1"

    @pytest.mark.parametrize("block", ["edited", "in the way", "twice"])
    def test_one_that_does_not_fit_changes_nothing(
        self, person: Person, work: tuple[list[bytes], str, bytes], block: str
    ) -> None:
        if block == "edited":
            person.write("README.md", "other words\n")
        elif block == "in the way":
            person.write("docs/new", "mine\n")
        else:
            apply_patch(person.path, work[2])
        before = {path: path.read_bytes() for path in person.path.rglob("*") if path.is_file()}
        with pytest.raises(DeliveryProblem, match=r"does not fit .* so nothing was changed"):
            apply_patch(person.path, work[2])
        assert {path: path.read_bytes() for path in person.path.rglob("*") if path.is_file()} == before

    def test_a_folder_that_is_no_repository_takes_it_even_inside_one(
        self, person: Person, work: tuple[list[bytes], str, bytes]
    ) -> None:
        (person.path / "inner").mkdir()
        (person.path / "inner/README.md").write_text("hello\n")
        apply_patch(person.path / "inner", work[2])
        assert (person.path / "inner/docs/new").read_text() == "new\n"
        assert (person.path / "README.md").read_text() == "hello\n"

    def test_a_git_of_the_environment_does_not_lead_elsewhere(
        self, person: Person, work: tuple[list[bytes], str, bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GIT_DIR", "/nonexistent")
        monkeypatch.setenv("GIT_WORK_TREE", os.devnull)
        apply_patch(person.path, work[2])
        assert (person.path / "docs/new").exists()

    @pytest.mark.parametrize("name", ["../out", ".git/hooks/pre-commit", "link/out", "/tmp/compymac-out"])
    def test_a_patch_does_not_lead_out_of_the_tree(self, person: Person, host: Path, name: str) -> None:
        (person.path / "link").symlink_to(host)
        patch = (
            f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+evil\n"
        )
        with pytest.raises(DeliveryProblem):
            apply_patch(person.path, patch.encode())
        assert not (host / "out").exists()
