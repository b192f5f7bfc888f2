"""The workspace: a commit goes in, commits come out, whatever an agent did to the tree."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from person import Opened, Person

from agents import workspace as module
from agents.checking import CHECK_FILES, HARNESS_FILES
from agents.errors import Conflict, Permanent, Transient
from agents.ports import Command, Sandbox, SandboxProvider, SandboxSpec
from agents.source import read_source
from agents.workspace import Workspace

WHEN = 1_700_000_000
Open = Callable[[], Opened]


def sh(box: Sandbox, script: str) -> str:
    result = box.run(Command(script))
    assert result.ok, result
    return result.stdout


def vault(box: Sandbox, words: str) -> str:
    result = box.run(Command(f'git --git-dir="$VAULT" {words}', vault=True))
    assert result.ok, result
    return result.stdout


def names(box: Sandbox, commit: str) -> list[str]:
    return vault(box, f"ls-tree -r -z --name-only {commit}").split("\0")[:-1]


def changed(box: Sandbox, old: str, new: str) -> list[str]:
    """Modes and names: `A120000 link`."""
    fields = vault(box, f"diff-tree -r -z --no-renames {old} {new}").split("\0")[:-1]
    return [f"{meta[-1]}{meta.split()[1]} {name}" for meta, name in zip(fields[::2], fields[1::2], strict=True)]


class TestCommits:
    def test_a_fresh_workspace_holds_the_tree_and_an_own_clean_repository(self, at_base: Open) -> None:
        _, box, source = at_base()
        assert sh(box, "git ls-files; git status --porcelain; git log --format=%s; git rev-parse HEAD").split() == [
            *("README.md", "src/a.py", "tests/test_a.py", "second", "first", source.sha)
        ]

    def test_an_unchanged_tree_is_the_opened_commit(self, at_base: Open) -> None:
        workspace, _, source = at_base()
        assert workspace.checkpoint(WHEN) == workspace.commit("x", WHEN) == source.sha

    def test_the_same_work_gives_the_same_commit_anywhere(self, at_base: Open) -> None:
        shas = set()
        for _ in range(2):
            workspace, box, _ = at_base()
            sh(box, "echo new > src/b.py; rm README.md")
            shas |= {workspace.commit('it\'s "done" `x` $HOME\n\nbody ü', WHEN)}
            assert workspace.checkpoint(WHEN) == workspace.checkpoint(WHEN) not in shas
        (sha,) = shas
        told = vault(box, f"log -1 --format='%an <%ae> %at %ct%n%P%n%B' {sha}")
        assert told.startswith(f"CompyMac <compymac@localhost> {WHEN} {WHEN}\n{workspace.opened}\n")
        assert told.rstrip().endswith('it\'s "done" `x` $HOME\n\nbody ü')

    def test_what_is_ignored_stays_out_and_what_is_tracked_stays_in(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "echo 'build/\n*.md' > .gitignore; mkdir build; echo x > build/out; echo more >> README.md")
        commit = workspace.commit("x", WHEN)
        assert changed(box, source.sha, commit) == ["A100644 .gitignore", "M100644 README.md"]

    def test_modes_links_and_odd_names_are_kept(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        odd = ["-rf", "a b'c\"d", "line\nbreak", "\x1b[0m", "ü", ";rm -rf x", "*", ":(glob)x", "back\\slash"]
        for name in odd:
            box.write(name, b"x")
        sh(box, "chmod +x src/a.py; ln -s /etc/passwd link; ln -s .. up; mkfifo pipe; mkdir empty")
        found = changed(box, source.sha, workspace.commit("x", WHEN))
        assert sorted(found) == sorted(
            [*(f"A100644 {name}" for name in odd), "A120000 link", "A120000 up", "M100755 src/a.py"]
        )

    def test_a_name_that_is_not_utf_8_is_kept(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, r"touch $'\377\376'")
        commit = workspace.commit("x", WHEN)
        assert b" b/\xff\xfe\n" in workspace.diff(source.sha, commit).encode("utf-8", "surrogateescape")

    def test_a_folder_replaced_by_a_link_is_not_followed(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "rm -r src; ln -s /usr/lib src")
        commit = workspace.commit("x", WHEN)
        assert changed(box, source.sha, commit) == ["A120000 src", "D000000 src/a.py"]
        workspace.restore()
        assert sh(box, "cat src/a.py").startswith("line 0")


class TestWhatAnAgentDoesToGit:
    @pytest.mark.parametrize(
        "script",
        [
            "rm -rf .git",
            "rm -rf .git; echo gitdir: /nowhere > .git",
            "rm -rf .git; ln -s /etc .git",
            "rm -rf .git; mkfifo .git",
            "chmod 000 .git",
            "git config user.name x; git add -A; git commit -qm mine; git checkout -q -b other; git reset -q --hard HEAD~1; "
            "echo new > new",
            "rm -rf .git; git init -q --separate-git-dir=hidden/../.git . ; git config core.worktree /tmp",
        ],
    )
    def test_its_own_repository_does_not_matter(self, at_base: Open, script: str) -> None:
        workspace, box, source = at_base()
        sh(box, f"{script}\necho new > new")
        commit = workspace.commit("x", WHEN)
        assert "A100644 new" in changed(box, source.sha, commit)
        assert not [name for name in names(box, commit) if ".git" in name]
        workspace.restore(commit)
        assert sh(box, "git rev-parse HEAD").strip() == source.sha
        assert sh(box, "cat new") == "new\n"

    def test_hooks_filters_and_monitors_of_its_making_do_not_run(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(
            box,
            """
mkdir -p .git/hooks; printf '#!/bin/sh\necho x >> hooked\n' > .git/hooks/pre-commit
cp .git/hooks/pre-commit .git/hooks/post-index-change; chmod +x .git/hooks/*
for key in core.fsmonitor filter.evil.clean filter.evil.smudge diff.evil.textconv merge.evil.driver core.sshCommand; do
  git config "$key" 'touch hooked; cat'
done
git config core.hooksPath .git/hooks; git config filter.evil.required true; git config core.attributesFile .git/info/a
echo '* filter=evil diff=evil merge=evil' > .gitattributes; echo new > new
""",
        )
        commit = workspace.commit("x", WHEN)
        workspace.diff(source.sha, commit)
        workspace.restore(commit)
        assert changed(box, source.sha, commit) == ["A100644 .gitattributes", "A100644 new"]
        assert sh(box, "ls") == "README.md\nnew\nsrc\ntests\n"

    def test_attributes_change_no_bytes_and_hide_nothing(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        box.write(".gitattributes", b"* text eol=crlf ident working-tree-encoding=UTF-16 -diff\n")
        box.write("dos.txt", b"one\r\ntwo $Id$\r\n\xff\xfe")
        commit = workspace.commit("x", WHEN)
        assert "+one\r" in workspace.diff(source.sha, commit)
        assert workspace.changed_lines(source.sha, commit) == 4
        workspace.restore(commit)
        assert box.read("dos.txt") == b"one\r\ntwo $Id$\r\n\xff\xfe"

    def test_nested_repositories_become_files_and_never_links_to_unknown_commits(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(
            box,
            """
echo ignored/ > .gitignore
for place in with-commit 'with
newline/deep/er' no-commit ignored/vendored; do
  mkdir -p "$place"; echo x > "$place/file"; git init -q "$place"
done
git -C with-commit -c user.name=a -c user.email=b commit -qm x --allow-empty
mkdir with-commit/inner; echo x > with-commit/inner/file; git init -q with-commit/inner
mkdir broken; echo 'gitdir: /nowhere' > broken/.git; echo x > broken/file
""",
        )
        commit = workspace.commit("x", WHEN)
        assert sorted(changed(box, source.sha, commit)) == [
            "A100644 .gitignore",
            "A100644 broken/file",
            "A100644 no-commit/file",
            "A100644 with\nnewline/deep/er/file",
            "A100644 with-commit/file",
            "A100644 with-commit/inner/file",
        ]
        assert sh(box, "ls -d ignored/vendored/.git").strip() == "ignored/vendored/.git"

    def test_one_that_git_takes_without_an_error_is_found_too(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "git init -q n; git -C n -c user.name=a -c user.email=b commit -qm x --allow-empty; echo x > n/f")
        assert changed(box, source.sha, workspace.commit("x", WHEN)) == ["A100644 n/f"]

    def test_a_submodule_stays_as_it_is(
        self, provider: SandboxProvider, open_box: Callable[[], Sandbox], person: Person
    ) -> None:
        inner = Person(person.path.parent / "inner").begin()
        person.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner.path), "libs/a b")
        person.commit("with a submodule")
        source, box = read_source(provider, person.path, "HEAD"), open_box()
        workspace = Workspace(box)
        workspace.open(source.bundle, None, source.sha)
        sh(
            box,
            "cd 'libs/a b'; git init -q .; git -c user.name=a -c user.email=b commit -qm x --allow-empty; echo x > f",
        )
        assert workspace.checkpoint(WHEN) == source.sha
        sh(box, "rm -r 'libs/a b'; echo x > new")
        assert changed(box, source.sha, workspace.commit("x", WHEN)) == ["D000000 libs/a b", "A100644 new"]

    def test_names_that_git_refuses_are_left_out_and_the_rest_is_kept(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "mkdir .GIT 'git~1' '.git '; touch .GIT/x 'git~1/x' '.git /x'; touch $'.g\\u200cit'; echo x > good")
        assert changed(box, source.sha, workspace.commit("x", WHEN)) == ["A100644 good"]

    def test_modes_that_let_nobody_in_are_opened(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "mkdir -p a/b; echo x > a/b/c; chmod 000 a/b/c a/b a src/a.py src")
        commit = workspace.commit("x", WHEN)
        assert changed(box, source.sha, commit) == ["A100644 a/b/c"]
        sh(box, "mkdir -p a/b/d; chmod 000 a/b a src")
        workspace.restore(commit)
        assert sh(box, "cat a/b/c") == "x\n"

    def test_folders_deeper_than_any_path_do_no_harm(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        box.run(
            Command(
                "echo x > new; for n in $(seq 300); do mkdir ddddddddddddddddddddd && cd -P ddddddddddddddddddddd; done"
            )
        )
        commit = workspace.commit("x", WHEN)
        assert "A100644 new" in changed(box, source.sha, commit)
        workspace.restore(commit)
        assert sh(box, "ls") == "README.md\nnew\nsrc\ntests\n"

    def test_tools_in_the_tree_do_not_stand_in_for_ours(self, at_base: Open) -> None:
        workspace, box, _ = at_base()
        sh(box, "for tool in git sed xargs cat; do printf '#!/bin/sh\necho x > hooked\n' > $tool; chmod +x $tool; done")
        commit = workspace.commit("x", WHEN)
        assert sorted(set(names(box, commit)) & {"git", "sed", "hooked"}) == ["git", "sed"]

    def add_for_ever(self, workspace: Workspace, box: Sandbox) -> None:
        for _ in range(5):
            box.run(Command("head -c 6M /dev/urandom > big"))
            assert workspace.commit("x", WHEN) != workspace.opened

    def test_a_full_disk_is_no_commit_without_files(self, provider: SandboxProvider, person: Person) -> None:
        source = read_source(provider, person.path, "HEAD")
        box = provider.open(SandboxSpec(label="test", disk_mib=10))
        try:
            workspace = Workspace(box)
            workspace.open(source.bundle, None, source.sha)
            with pytest.raises(Transient, match=r"on disk|one file larger"):
                self.add_for_ever(workspace, box)
        finally:
            box.close()


class TestBundles:
    def test_a_bundle_brings_the_work_to_another_sandbox(self, at_base: Open, open_box: Callable[[], Sandbox]) -> None:
        workspace, box, source = at_base()
        sh(box, "echo one > one; chmod +x one")
        first = workspace.commit("one", WHEN)
        bundle = workspace.bundle(source.sha, first)
        other = Workspace(second := open_box())
        other.open(source.bundle, bundle, first)
        assert sh(second, "./one 2>/dev/null; cat one; git log --format=%s; git status --porcelain").split() == [
            *("one", "one", "second", "first")
        ]
        sh(second, "echo two > two")
        third = Workspace(box := open_box())
        commit = other.commit("two", WHEN)
        third.open(source.bundle, other.bundle(source.sha, commit), commit)
        assert vault(box, f"log --format=%s {commit}").split() == ["two", "one", "second", "first"]

    def test_there_is_no_bundle_of_nothing(self, at_base: Open) -> None:
        workspace, _, source = at_base()
        assert workspace.bundle(source.sha, source.sha) == b""

    def test_a_bundle_that_is_none_and_a_commit_that_is_not_there_are_said(
        self, at_base: Open, open_box: Callable[[], Sandbox]
    ) -> None:
        workspace, _, source = at_base()
        with pytest.raises(Transient, match="git in the workspace failed"):
            workspace.fetch(b"no bundle")
        with pytest.raises(Transient, match="git in the workspace failed"):
            Workspace(open_box()).open(source.bundle, None, "f" * 40)

    @pytest.mark.parametrize("name", ["HEAD", "", "main; touch x", "-x", "F" * 40, "a" * 39])
    def test_only_a_commits_name_gets_into_a_script(self, at_base: Open, name: str) -> None:
        workspace, _, source = at_base()
        with pytest.raises(ValueError, match="not a commit's name"):
            workspace.bundle(source.sha, name)

    def test_more_than_can_be_taken_over_is_said_with_the_limit(
        self, at_base: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        workspace, box, source = at_base()
        sh(box, "head -c 3M /dev/urandom > big")
        commit = workspace.commit("x", WHEN)
        monkeypatch.setattr(module, "LARGEST_PATCH", 1024 * 1024)
        monkeypatch.setattr(module, "LARGEST_BUNDLE", 2 * 1024 * 1024)
        with pytest.raises(Permanent, match=r"larger than the 1 MiB .*\.gitignore"):
            workspace.diff(source.sha, commit)
        with pytest.raises(Permanent, match="larger than the 2 MiB"):
            workspace.bundle(source.sha, commit)


class TestMerging:
    def both(self, at_base: Open, ours: str, theirs: str) -> tuple[Workspace, Sandbox, str, str]:
        """Two steps from one base; (the second one's workspace, head of the first, commit of the second)."""
        first, first_box, source = at_base()
        sh(first_box, ours)
        head = first.commit("ours", WHEN)
        second, box, _ = at_base()
        sh(box, theirs)
        commit = second.commit("theirs", WHEN)
        if head != source.sha:
            second.fetch(first.bundle(source.sha, head))
        return second, box, head, commit

    def test_parallel_work_becomes_one_line(self, at_base: Open) -> None:
        ours, theirs = "sed -i 's/line 1$/ours/' src/a.py", "sed -i 's/line 30/theirs/' src/a.py; echo x > new"
        workspace, box, head, commit = self.both(at_base, ours, theirs)
        merged = workspace.merge(head, commit, "theirs, merged", WHEN)
        assert merged == workspace.merge(head, commit, "theirs, merged", WHEN)
        assert vault(box, f"log --format='%s %P' {merged}").splitlines()[0] == f"theirs, merged {head}"
        assert vault(box, f"rev-list --count --merges {merged}").strip() == "0"
        workspace.restore(merged)
        assert sh(box, "grep -n -e ours -e theirs src/a.py; cat new") == "2:ours\n31:theirs\nx\n"

    @pytest.mark.parametrize(
        ("ours", "theirs", "files"),
        [
            ("echo ours > README.md", "echo theirs > README.md", ("README.md",)),
            ("rm README.md", "echo theirs > README.md", ("README.md",)),
            ("echo ours > ü", "echo theirs > ü", ("ü",)),
            ("echo 1 > 'a b'; echo 1 > README.md", "echo 2 > 'a b'; echo 2 > README.md", ("README.md", "a b")),
        ],
    )
    def test_a_conflict_names_the_files(self, at_base: Open, ours: str, theirs: str, files: tuple[str, ...]) -> None:
        workspace, _, head, commit = self.both(at_base, ours, theirs)
        with pytest.raises(Conflict, match=f"conflicts in {', '.join(files)}") as caught:
            workspace.merge(head, commit, "x", WHEN)
        assert caught.value.files == files

    def test_the_same_change_twice_and_no_change_are_the_head(self, at_base: Open) -> None:
        workspace, _, head, commit = self.both(at_base, "echo x > new", "echo x > new")
        assert workspace.merge(head, commit, "x", WHEN) == head
        assert workspace.merge(head, workspace.opened, "x", WHEN) == head

    def test_a_head_whose_objects_are_missing_is_no_conflict(self, at_base: Open) -> None:
        workspace, box, _ = at_base()
        sh(box, "echo x > new")
        with pytest.raises(Transient):
            workspace.merge("f" * 40, workspace.commit("x", WHEN), "x", WHEN)


class TestRestoring:
    def test_a_take_over_finds_what_the_lost_run_had(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "echo more >> README.md; rm src/a.py; echo new > new")
        before = sh(box, "git status --porcelain")
        commit = workspace.checkpoint(WHEN)
        other, second, _ = at_base()
        other.fetch(workspace.bundle(source.sha, commit))
        other.restore(commit)
        assert sh(second, "git status --porcelain") == before
        assert other.checkpoint(WHEN) == commit

    def test_nothing_else_is_left(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "echo '*.o' > .gitignore; touch a.o; mkdir -p x/y; touch x/y/z; rm -r src; touch src; ln -s / root")
        workspace.restore()
        assert sh(box, "ls -A") == ".git\nREADME.md\nsrc\ntests\n"
        assert workspace.checkpoint(WHEN) == source.sha


EXAM = """
rm tests/test_a.py; echo 'assert False' > tests/test_b.py
mkdir -p tests/sub; echo evil > tests/sub/conftest.py; echo evil > conftest.py; echo evil > 'src/pytest.ini'
echo evil > src/jest.config.js; echo fine > src/new.py; echo fine > 'tests/test
new.py'
"""


class TestTheExam:
    def at_head(self, at_base: Open, open_box: Callable[[], Sandbox], script: str) -> tuple[Workspace, Sandbox, str]:
        workspace, box, source = at_base()
        sh(box, script)
        head = workspace.commit("x", WHEN)
        fresh = Workspace(second := open_box())
        fresh.open(source.bundle, workspace.bundle(source.sha, head), head)
        return fresh, second, source.sha

    def test_checks_are_as_at_the_base_and_new_harness_files_are_gone(
        self, at_base: Open, open_box: Callable[[], Sandbox]
    ) -> None:
        workspace, box, base = self.at_head(at_base, open_box, EXAM)
        touched = workspace.restore_checks(base, CHECK_FILES, HARNESS_FILES)
        assert touched == sorted(
            ["tests/test_a.py", "tests/sub/conftest.py", "conftest.py", "src/pytest.ini", "src/jest.config.js"]
        )
        left = sh(box, "find . -path ./.git -prune -o -type f -print0").split("\0")[:-1]
        assert sorted(left) == [
            *(
                "./README.md",
                "./src/a.py",
                "./src/new.py",
                "./tests/test\nnew.py",
                "./tests/test_a.py",
                "./tests/test_b.py",
            )
        ]

    @pytest.mark.parametrize(
        "script",
        [
            "rm -r tests; ln -s src tests",
            "rm -r tests; echo > tests",
            "rm tests/test_a.py; mkdir tests/test_a.py; echo > tests/test_a.py/x",
            "rm tests/test_a.py; ln -s ../src/a.py tests/test_a.py",
            "chmod +x tests/test_a.py",
            "git mv tests exam",
        ],
    )
    def test_a_check_that_became_something_else_is_restored(
        self, at_base: Open, open_box: Callable[[], Sandbox], script: str
    ) -> None:
        workspace, box, base = self.at_head(at_base, open_box, script)
        assert "tests/test_a.py" in workspace.restore_checks(base, CHECK_FILES, HARNESS_FILES)
        assert sh(box, "stat -c '%A %F' tests/test_a.py tests") == "-rw-r--r-- regular file\ndrwxr-xr-x directory\n"
        assert box.read("tests/test_a.py") == b"assert True\n"
        assert box.read("src/a.py").startswith(b"line 0")

    def test_harness_names_may_be_patterns(self, at_base: Open, open_box: Callable[[], Sandbox]) -> None:
        script = "mkdir tests/__pycache__; echo x > tests/__pycache__/test_a.cpython-311.pyc"
        workspace, _, base = self.at_head(at_base, open_box, script)
        assert workspace.restore_checks(base, CHECK_FILES, ("*.pyc",)) == ["tests/__pycache__/test_a.cpython-311.pyc"]

    def test_an_untouched_exam_needs_nothing(self, at_base: Open) -> None:
        workspace, _, source = at_base()
        assert workspace.restore_checks(source.sha, CHECK_FILES, HARNESS_FILES) == []


class TestDiffs:
    def test_a_patch_with_binary_files_modes_and_odd_names_applies(self, at_base: Open, person: Person) -> None:
        workspace, box, source = at_base()
        box.write("bin", bytes(range(256)) * 8)
        box.write("a b\tc", b"x\n")
        sh(
            box,
            "chmod +x src/a.py; git mv README.md READ.md; printf 'latin \\344\\n' > latin; printf nl > none; ln -s x link",
        )
        commit = workspace.commit("x", WHEN)
        patch = workspace.diff(source.sha, commit)
        person.git("apply", "--index", "-", stdin=patch.encode("utf-8", "surrogateescape"))
        assert person.git("write-tree") == vault(box, f"rev-parse {commit}^{{tree}}").strip()

    def test_changed_lines_count_what_was_added_and_removed_however_many_files(self, at_base: Open) -> None:
        workspace, box, source = at_base()
        sh(box, "sed -i 1d src/a.py; echo x >> README.md; head -c 99 /dev/zero > bin; mkdir m; cd m; touch {1..4000}")
        sh(box, "cd m; for n in {1..4000}; do echo x > a-long-name-so-that-the-list-is-longer-than-a-pipe-$n; done")
        assert workspace.changed_lines(source.sha, workspace.commit("x", WHEN)) == 1 + 1 + 1 + 4000
