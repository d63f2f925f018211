//! Generated files are what the source says: the definitions in `crds/`, the chart's copy of them, and
//! the field reference. `make crds` (this test with `UPDATE=1`) writes them; without it any
//! difference fails. And what the pages say is so: reasons are explained, links lead somewhere.

mod cli;
mod links;
mod reference;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// File names and contents of one folder.
type Files = BTreeMap<String, String>;

const REMEDY: &str = "run `make crds` and commit what it writes";

#[test]
fn definitions_are_those_of_the_types() {
    check_folder("crds", &written_definitions());
}

#[test]
fn the_chart_carries_the_same_definitions() {
    check_folder("charts/keystead/crds", &written_definitions());
}

#[test]
fn the_field_reference_is_that_of_the_types() {
    let page = reference::page(&keystead::api::crds::crds());
    let path = repository().join("docs/reference.md");
    if updating() {
        write(&path, &page);
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/reference.md differs from the types {}: {REMEDY}",
        at(&found, &page)
    );
}

#[test]
fn the_page_of_the_plugin_is_its_own_help() {
    let page = cli::page();
    let path = repository().join("docs/cli.md");
    if updating() {
        write(&path, &page);
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/cli.md differs from the program {}: {REMEDY}",
        at(&found, &page)
    );
}

/// Not generated, but bound to the source in the same way: a reason that nobody explains helps nobody.
#[test]
fn every_reason_is_explained_to_users() {
    let source = fs::read_to_string(repository().join("src/api/reason.rs"))
        .expect("the reasons are in src/api/reason.rs");
    let (_, reasons) = source
        .split_once("impl Reason {")
        .expect("the reasons have names in `impl Reason`");
    let (reasons, _) = reasons.split_once("\n}").expect("the block ends");
    let reasons: Vec<_> = reasons
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    assert!(reasons.len() > 20, "the names were not found: {reasons:?}");
    let page = fs::read_to_string(repository().join("docs/troubleshooting.md"))
        .expect("docs/troubleshooting.md is there");
    let silent: Vec<_> = reasons
        .iter()
        .filter(|reason| !page.contains(&format!("| `{reason}` |")))
        .collect();
    assert!(
        silent.is_empty(),
        "explain in docs/troubleshooting.md: {silent:?}"
    );
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let broken = links::broken(&repository());
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

/// What `keystead crds --dir` writes: the command itself runs, so that there is one writer only.
fn written_definitions() -> Files {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let status = Command::new(env!("CARGO_BIN_EXE_keystead"))
        .args(["crds", "--dir"])
        .arg(folder.path())
        .status()
        .expect("the command starts");
    assert!(status.success(), "keystead crds: {status}");
    let files = read(folder.path());
    assert_eq!(
        files.len(),
        keystead::api::crds::crds().len(),
        "one file per kind"
    );
    files
}

fn check_folder(name: &str, expected: &Files) {
    let folder = repository().join(name);
    if updating() {
        for stale in read(&folder)
            .keys()
            .filter(|file| !expected.contains_key(*file))
        {
            fs::remove_file(folder.join(stale)).expect("a stale file can be removed");
        }
        for (file, content) in expected {
            write(&folder.join(file), content);
        }
    }
    let found = read(&folder);
    let names = |files: &Files| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&found),
        names(expected),
        "the files of {name}/: {REMEDY}"
    );
    for (file, content) in expected {
        let found = &found[file];
        assert!(
            found == content,
            "{name}/{file} differs {}: {REMEDY}",
            at(found, content)
        );
    }
}

/// All YAML files of a folder; none when there is no such folder.
fn read(folder: &Path) -> Files {
    let Ok(entries) = fs::read_dir(folder) else {
        return Files::new();
    };
    entries
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            let name = path
                .file_name()
                .expect("listed files have names")
                .to_string_lossy();
            (
                name.into_owned(),
                fs::read_to_string(&path).expect("a YAML file is readable text"),
            )
        })
        .collect()
}

fn write(path: &Path, content: &str) {
    let folder = path.parent().expect("every generated file is in a folder");
    fs::create_dir_all(folder).expect("the folder can be made");
    fs::write(path, content).expect("the file can be written");
}

/// Where two texts part, for the message of a failure.
fn at(found: &str, expected: &str) -> String {
    let same = found
        .lines()
        .zip(expected.lines())
        .take_while(|(a, b)| a == b)
        .count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end of file)").to_owned();
    format!(
        "from line {}: `{}` should be `{}`",
        same + 1,
        line(found),
        line(expected)
    )
}

fn updating() -> bool {
    env::var_os("UPDATE").is_some_and(|value| value == "1")
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
