"""Bundles: order, filters, packages; a difference leads from one to the other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cabochon.schemas import PolicyBundle
from cabochon_opal_server.policy.bundle_maker import change_message, delta_bundle, full_bundle
from cabochon_opal_server.policy.bundle_rules import BundleRules
from cabochon_opal_server.policy.snapshot import Snapshot, package_of, parents

RULES = BundleRules()


def snapshot(files: Mapping[str, bytes], rules: BundleRules = RULES, name: str = "h") -> Snapshot:
    paths = {*files, *parents(list(files))} - {"."}
    needed = {path: content for path, content in files.items() if rules.needs(path)}
    return Snapshot(hash=name, files=needed, paths=frozenset(paths), rules=rules)


def held(bundle: PolicyBundle) -> dict[str, str]:
    """What a client has that loaded a full bundle."""
    data = {f"{module.path}/data.json": module.data for module in bundle.data_modules}
    return data | {module.path: module.rego for module in bundle.policy_modules}


def test_bundle_has_policies_and_data_of_the_folders_asked_for() -> None:
    files = {
        "a/x.rego": b"package a",
        "a/b/data.json": b"{}",
        "ab/y.rego": b"package ab",
        "a/README.md": b"",
        "a/z.json": b"",
    }
    assert {"a/x.rego", "a/b/data.json"} == held(full_bundle(snapshot(files), ["a"])).keys()
    assert {"a/b/data.json"} == held(full_bundle(snapshot(files), ["a/b"])).keys()
    assert {"a/x.rego", "a/b/data.json", "ab/y.rego"} == held(full_bundle(snapshot(files), ["."])).keys()
    assert ("a/b",) == tuple(module.path for module in full_bundle(snapshot(files), ["a"]).data_modules)


def test_manifests_give_the_order_and_pull_in_those_of_folders() -> None:
    files: dict[str, bytes] = dict.fromkeys(("a.rego", "b.rego", "c.rego", "sub/x.rego", "sub/y.rego"), b"package p")
    files[".manifest"] = b"c.rego\n\nsub\n../out.rego\n/etc/passwd\nsub\na.rego\nnot/there.rego\n.\n"
    files["sub/.manifest"] = b"y.rego\n../b.rego\nx.rego\n"
    assert ("c.rego", "sub/y.rego", "sub/x.rego", "a.rego", "b.rego") == full_bundle(snapshot(files), ["."]).manifest


def test_files_of_a_folder_come_before_its_subfolders() -> None:
    walked = ("data.json", "z.rego", "B/m.rego", "a-b/m.rego", "a/m.rego", "a/b/c/m.rego", "a/b2/m.rego")
    assert walked == full_bundle(snapshot(dict.fromkeys(walked, b"{}")), ["."]).manifest


@pytest.mark.parametrize("manifest", ["sub", "/sub/", "sub/.manifest", "sub/order.txt"])
def test_manifest_may_be_elsewhere(manifest: str) -> None:
    files = {
        "a.rego": b"",
        "sub/x.rego": b"",
        "sub/y.rego": b"",
        "sub/.manifest": b"y.rego",
        "sub/order.txt": b"y.rego",
    }
    made = full_bundle(snapshot(files, BundleRules(manifest=manifest)), ["."])
    assert ("sub/y.rego", "a.rego", "sub/x.rego") == made.manifest


def test_manifests_that_name_one_another_end() -> None:
    files = {
        "a/.manifest": b"b\nx.rego",
        "a/b/.manifest": b"c",
        "a/b/c/m.rego": b"",
        "a/x.rego": b"",
        ".manifest": b"a\na/b",
    }
    assert ("a/x.rego", "a/b/c/m.rego") == full_bundle(snapshot(files), ["."]).manifest


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        (["private/*"], {"app/m.rego", "tests/a/t.rego", "private/deep/p.rego"}),
        (["private/**"], {"app/m.rego", "tests/a/t.rego"}),
        (["tests/**/*.rego"], {"app/m.rego", "private/p.rego", "private/deep/p.rego"}),
        (["*.rego"], set[str]()),
        (["/**"], set[str]()),
        (["priv/**"], {"app/m.rego", "tests/a/t.rego", "private/p.rego", "private/deep/p.rego"}),
    ],
)
def test_ignored_paths_are_left_out(patterns: list[str], left: set[str]) -> None:
    files: dict[str, bytes] = dict.fromkeys(
        ("app/m.rego", "tests/a/t.rego", "private/p.rego", "private/deep/p.rego"), b"package p"
    )
    assert left == held(full_bundle(snapshot(files, BundleRules(ignored=patterns)), ["."])).keys()


def test_file_that_is_no_text_stops_nothing_else() -> None:
    files = {"a.rego": b"package a", "b.rego": b"\xff\xfe", "d/data.json": b"{not json"}
    assert {"a.rego", "d/data.json"} == held(full_bundle(snapshot(files), ["."])).keys()


@pytest.mark.parametrize(
    ("source", "package"),
    [
        ("package app.rbac\n", "app.rbac"),
        ("# package other\n\n  package a_b # ours\nallow := true", "a_b"),
        ('package a["b-c"].d\n', 'a["b-c"].d'),
        ("package\tapp\r\nallow := 1", "app"),
        ('x := "package y"', ""),
        ("packages := 1", ""),
    ],
)
def test_package_is_what_the_module_says(source: str, package: str) -> None:
    assert package == package_of(source)
    (module,) = full_bundle(snapshot({"m.rego": source.encode()}), ["."]).policy_modules
    assert package == module.package_name


NAMES = st.sampled_from(
    ["a.rego", "b.rego", "d/a.rego", "d/e/c.rego", "d/data.json", "d/e/data.json", ".manifest", "x.md"]
)
TREES = st.dictionaries(NAMES, st.sampled_from([b"one", b"two", b"a.rego\nd/a.rego", b"\xff"]))


@given(old=TREES, new=TREES, folders=st.sampled_from([["."], ["d"], ["d/e", "d"]]))
def test_difference_leads_from_one_bundle_to_the_other(
    old: dict[str, bytes], new: dict[str, bytes], folders: list[str]
) -> None:
    before, after = snapshot(old, name="old"), snapshot(new, name="new")
    delta = delta_bundle(before, after, folders)
    have = held(full_bundle(before, folders))
    if delta.deleted_files is not None:
        for path in (
            *delta.deleted_files.policy_modules,
            *(f"{name}/data.json" for name in delta.deleted_files.data_modules),
        ):
            del have[path]
    assert all(have.get(path) != text for path, text in held(delta).items()), "what did not change is left out"
    have |= held(delta)
    assert held(full_bundle(after, folders)) == have
    assert ("old", "new") == (delta.old_hash, delta.hash)


@given(old=TREES, new=TREES)
def test_every_change_that_counts_is_announced_for_its_folders(old: dict[str, bytes], new: dict[str, bytes]) -> None:
    message = change_message(snapshot(old, name="old"), snapshot(new, name="new"))
    changed = [path for path in {*old, *new} if old.get(path) != new.get(path) and path.endswith((".rego", ".json"))]
    assert parents(changed) == ([] if message is None else list(message.changed_directories))
