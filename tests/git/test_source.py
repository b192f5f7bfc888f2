"""A person's repository read as data: what is taken, what is said, what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from person import Person

from agents import source
from agents.errors import Permanent, Transient
from agents.ports import Sandbox, SandboxProvider
from agents.source import empty_source, local_changes, local_commit, read_source
from agents.workspace import Workspace


class TestWhatIsTaken:
    def test_the_bundle_holds_the_commit_and_its_history(self, provider: SandboxProvider, person: Person) -> None:
        read = read_source(provider, person.path, "HEAD")
        assert read.sha == person.head
        assert read.warnings == ()
        (person.path.parent / "b").write_bytes(read.bundle)
        assert person.git("bundle", "list-heads", str(person.path.parent / "b")) == f"{person.head} refs/compymac/base"
        copy = Person(person.path.parent / "copy")
        copy.path.mkdir()
        copy.git("init", "-q")
        copy.git("fetch", "-q", str(person.path.parent / "b"), "refs/compymac/base")
        assert copy.git("rev-list", "--count", person.head) == "2"

    @pytest.mark.parametrize(
        "name", ["HEAD", "main", "refs/heads/main", "v1", "v2", "origin/main", "HEAD~1", "{head}", "{short}", "side/x"]
    )
    @pytest.mark.parametrize("packed", [False, True], ids=["loose", "packed"])
    def test_every_usual_name_of_a_commit_is_known(
        self, quick: SandboxProvider, person: Person, name: str, packed: bool
    ) -> None:
        person.git("tag", "v1")
        person.git("tag", "-a", "-m", "two", "v2")
        person.git("branch", "side/x", "HEAD~1")
        person.git("update-ref", "refs/remotes/origin/main", "HEAD")
        if packed:
            person.git("pack-refs", "--all")
            person.git("gc", "-q")
        name = name.format(head=person.head, short=person.head[:9])
        assert read_source(quick, person.path, name).sha == person.git("rev-parse", f"{name}^{{commit}}")

    def test_a_linked_work_tree_has_its_own_head(self, quick: SandboxProvider, person: Person) -> None:
        person.git("worktree", "add", "-q", str(person.path.parent / "linked"), "-b", "other", "HEAD~1")
        found = read_source(quick, person.path.parent / "linked", "HEAD").sha
        assert found == person.git("rev-parse", "other") != person.head

    def test_a_submodules_own_folder_is_a_repository(self, quick: SandboxProvider, person: Person) -> None:
        inner = Person(person.path.parent / "inner").begin()
        person.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "libs/inner")
        assert read_source(quick, person.path / "libs/inner", "HEAD").sha == inner.head

    def test_submodules_and_large_files_are_said_and_work_goes_on(self, quick: SandboxProvider, person: Person) -> None:
        inner = Person(person.path.parent / "inner").begin()
        person.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "libs/inner one")
        person.write("assets/.gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n")
        person.commit("more")
        modules, lfs = read_source(quick, person.path, "HEAD").warnings
        assert modules == "submodules are not fetched, their folders stay empty: libs/inner one"
        assert "pointers only" in lfs

    def test_configuration_and_hooks_are_neither_run_nor_taken(self, quick: SandboxProvider, person: Person) -> None:
        marker = person.path.parent / "marker"
        hook = person.path / ".git/hooks/post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {marker}\n")
        hook.chmod(0o755)
        for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "uploadpack.packObjectsHook", "alias.bundle"):
            person.git("config", name, f"!touch {marker}" if name.startswith("alias") else f"touch {marker}")
        read_source(quick, person.path, "HEAD")
        assert not marker.exists()

    def test_a_link_among_the_refs_is_not_followed(self, quick: SandboxProvider, person: Person) -> None:
        (person.path.parent / "secret").write_text(person.head + "\n")
        (person.path / ".git/refs/heads/evil").symlink_to(person.path.parent / "secret")
        with pytest.raises(Permanent, match="has no commit 'evil'"):
            read_source(quick, person.path, "evil")

    def test_what_another_git_is_just_writing_is_left_out(self, quick: SandboxProvider, person: Person) -> None:
        (person.path / ".git/objects/pack").mkdir(exist_ok=True)
        (person.path / ".git/objects/pack/tmp_pack_x").write_bytes(b"half")
        (person.path / ".git/refs/heads/main.lock").write_text("")
        assert read_source(quick, person.path, "main").sha == person.head

    def test_a_strict_umask_does_no_harm(self, quick: SandboxProvider, host: Path) -> None:
        old = os.umask(0o077)
        try:
            person = Person(host / "strict").begin()
            assert read_source(quick, person.path, "HEAD").sha == person.head
        finally:
            os.umask(old)

    def test_nothing_stays_behind(self, quick: SandboxProvider, person: Person) -> None:
        read_source(quick, person.path, "HEAD")
        assert list(quick.scratch.glob("source-*")) == []

    def test_a_repository_that_changes_meanwhile_is_tried_again(
        self, quick: SandboxProvider, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take = source._take

        def repacked(found: Path, target: Path) -> None:
            if "objects" in found.parts:
                found.unlink()
            take(found, target)

        monkeypatch.setattr(source, "_take", repacked)
        with pytest.raises(Transient, match="changed while it was read"):
            read_source(quick, person.path, "HEAD")


def no_repository(person: Person) -> Path:
    (person.path.parent / "plain").mkdir()
    return person.path.parent / "plain"


def subfolder(person: Person) -> Path:
    return person.path / "src"


def without_commits(person: Person) -> Path:
    empty = Person(person.path.parent / "empty")
    empty.path.mkdir()
    empty.git("init", "-q")
    return empty.path


def shallow(person: Person) -> Path:
    person.git("clone", "-q", "--depth=1", f"file://{person.path}", str(person.path.parent / "shallow"))
    return person.path.parent / "shallow"


def partial(person: Person) -> Path:
    person.git("config", "uploadpack.allowFilter", "true")
    person.git("clone", "-q", "--filter=blob:none", f"file://{person.path}", str(person.path.parent / "partial"))
    return person.path.parent / "partial"


def borrowing(person: Person) -> Path:
    person.git("clone", "-q", "--shared", str(person.path), str(person.path.parent / "borrowing"))
    return person.path.parent / "borrowing"


def of_another_user(person: Person) -> Path:
    os.chown(person.path / ".git", 12345, 12345)
    return person.path


def sha256(person: Person) -> Path:
    other = Person(person.path.parent / "sha256")
    other.path.mkdir()
    other.git("init", "-q", "--object-format=sha256")
    other.commit("one")
    return other.path


def reftable(person: Person) -> Path:
    (person.path / ".git/reftable").mkdir()
    return person.path


def linked_by_hand(person: Person) -> Path:
    """Somebody who may not read a repository makes a `.git` that names it."""
    (person.path.parent / "thief").mkdir()
    (person.path.parent / "thief/.git").write_text(f"gitdir: {person.path}/.git\n")
    return person.path.parent / "thief"


def linked_to_anothers_work_tree(person: Person) -> Path:
    person.git("worktree", "add", "-q", str(person.path.parent / "linked"), "-b", "other")
    (person.path.parent / "thief").mkdir()
    shutil.copy(person.path.parent / "linked/.git", person.path.parent / "thief/.git")
    return person.path.parent / "thief"


def symbolic_git(person: Person) -> Path:
    (person.path.parent / "thief").mkdir()
    (person.path.parent / "thief/.git").symlink_to(person.path / ".git")
    return person.path.parent / "thief"


def symbolic_folder(person: Person) -> Path:
    """A folder that was asked about, and replaced by a link to another repository since then."""
    (person.path.parent / "thief").symlink_to(person.path)
    return person.path.parent / "thief"


def below_a_symbolic_folder(person: Person) -> Path:
    (person.path.parent / "thief").symlink_to(person.path.parent)
    return person.path.parent / "thief" / person.path.name


def symbolic_objects(person: Person) -> Path:
    shutil.move(person.path / ".git/objects", person.path.parent / "objects")
    (person.path / ".git/objects").symlink_to(person.path.parent / "objects")
    return person.path


def with_a_common_folder(person: Person) -> Path:
    (person.path / ".git/commondir").write_text("/elsewhere\n")
    return person.path


def damaged(person: Person) -> Path:
    blob = person.git("rev-parse", "HEAD:README.md")
    (person.path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    return person.path


class TestOneClearSentence:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (no_repository, "not a git repository's top folder .*git init"),
            (subfolder, "did you mean .*/project"),
            (without_commits, "has no commit yet: commit something"),
            (shallow, "is shallow.*git fetch --unshallow"),
            (partial, "partial clone.*without --filter"),
            (borrowing, "borrows objects.*git repack"),
            (of_another_user, r"belongs to another user \(uid 12345\)"),
            (sha256, "SHA-256"),
            (reftable, "reftable.*git refs migrate"),
            (linked_by_hand, "does not name it back"),
            (linked_to_anothers_work_tree, "does not name it back"),
            (symbolic_git, "leads elsewhere"),
            (symbolic_folder, "leads elsewhere"),
            (below_a_symbolic_folder, "leads elsewhere"),
            (symbolic_objects, "leads elsewhere"),
            (with_a_common_folder, "leads elsewhere"),
            (damaged, "cannot be read: .*"),
        ],
        ids=lambda value: getattr(value, "__name__", "-"),
    )
    def test_a_repository_that_cannot_be_taken(
        self, quick: SandboxProvider, person: Person, make: Callable[[Person], Path], said: str
    ) -> None:
        with pytest.raises(Permanent, match=said):
            read_source(quick, make(person), "HEAD")

    @pytest.mark.parametrize(
        "ref", ["nothing", "", "-x", "--all", "$(touch x)", "a'b", "main:README.md", "a..b", "HEAD^9", "f" * 40]
    )
    def test_an_unknown_ref_is_told_with_the_names_there_are(
        self, quick: SandboxProvider, person: Person, ref: str
    ) -> None:
        with pytest.raises(Permanent, match=r"has no commit .*; it has, among others, HEAD, main"):
            read_source(quick, person.path, ref)

    def test_a_detached_repository_without_branches_is_not_called_empty(
        self, quick: SandboxProvider, person: Person
    ) -> None:
        person.git("checkout", "-q", "--detach")
        person.git("branch", "-D", "main")
        with pytest.raises(Permanent, match="among others, HEAD"):
            read_source(quick, person.path, "main")

    def test_too_long_a_history_is_told_with_the_limit(
        self, quick: SandboxProvider, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(source, "LARGEST_BUNDLE", 10)
        with pytest.raises(Permanent, match=r"larger than the"):
            read_source(quick, person.path, "HEAD")


class TestWithoutARepository:
    def test_an_empty_base_is_the_same_everywhere(
        self, provider: SandboxProvider, open_box: Callable[[], Sandbox]
    ) -> None:
        empty = empty_source(provider, 1_700_000_000)
        assert empty.sha == empty_source(provider, 1_700_000_000).sha == "ca04688a3894a2d145540a1cf8090008c92cf6e7"
        box = open_box()
        workspace = Workspace(box)
        workspace.open(empty.bundle, None, empty.sha)
        box.write("new", b"1")
        made = workspace.commit("begin", 1)
        assert workspace.changed_lines(empty.sha, made) == 1


class TestLocalChanges:
    def test_each_file_that_is_not_committed_counts_once(self, person: Person) -> None:
        assert local_changes(person.path) == 0
        person.write("README.md", "changed\n")
        person.write("new/one", "")
        person.write("new/two", "")
        person.git("mv", "src/a.py", "src/b.py")
        assert local_changes(person.path) == 5  # a renamed file is one gone and one new

    def test_the_repositorys_own_hooks_and_a_foreign_environment_do_not_matter(
        self, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        marker = person.path.parent / "marker"
        person.git("config", "core.fsmonitor", f"touch {marker}")
        monkeypatch.setenv("GIT_DIR", "/nonexistent")
        person.write("new", "")
        assert local_changes(person.path) == 1
        assert not marker.exists()

    def test_where_git_cannot_say_there_are_none(self, host: Path) -> None:
        assert local_changes(host) == 0
        assert local_commit(host, "HEAD") == ""

    def test_the_commit_that_a_name_means_is_said(self, person: Person) -> None:
        assert person.head.startswith(local_commit(person.path, "main"))
        assert local_commit(person.path, "main") != ""
        assert [local_commit(person.path, ref) for ref in ("nothing", "--all", "-h")] == ["", "", ""]
