//! `keystead audit`, the command: exit codes, and what it names.

#![allow(clippy::unwrap_used, reason = "all of this is tests, helpers included")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use keystead::audit::{Chain, Entry, EventSource, Genesis, Identity, Resource, ResourceType};

const ID: &str = "11111111-1111-4111-8111-111111111111";

/// A log of one process with that many uses of a key.
fn log(uses: usize) -> Vec<String> {
    let mut chain = Chain::new("a".repeat(32), "pod-1".to_owned());
    let genesis = Genesis {
        installation: "i".to_owned(),
        version: "0".to_owned(),
        resumes: None,
    };
    let entry =
        |name: &str| Entry::allowed(EventSource::Kms, name, Identity::secret("shop", "db"), "r");
    let mut lines = Vec::new();
    chain.append(
        "2026-11-20T00:00:00Z",
        entry("StartAuditLog"),
        Some(&genesis),
        &mut lines,
    );
    for _ in 0..uses {
        let mut used = entry("Decrypt");
        used.resources.push(Resource {
            type_: ResourceType::ManagedKey,
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            uid: None,
            arn: Some(format!("arn:aws:kms:eu-1:000000000001:key/{ID}")),
        });
        chain.append("2026-11-25T10:00:00Z", used, None, &mut lines);
    }
    let text = String::from_utf8(lines).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

fn keystead(args: &[&str], folder: &Path, stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_keystead"))
        .arg("audit")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(stdin.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn an_intact_log_in_two_files_passes_and_its_head_can_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let lines = log(5);
    std::fs::write(folder.path().join("1"), lines[..3].concat()).unwrap();
    std::fs::write(folder.path().join("2"), lines[3..].concat()).unwrap();
    let (code, out, _) = keystead(&["verify", "1", "2"], folder.path(), "");
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("intact; 6 lines in 1 chains"), "{out}");
    let head = out.trim_end().rsplit(' ').next().unwrap().to_owned();
    let held = ["verify", "1", "2", "--must-hold", &head];
    assert_eq!(keystead(&held, folder.path(), "").0, 0);
    std::fs::write(folder.path().join("2"), lines[3..5].concat()).unwrap();
    assert_eq!(
        keystead(&["verify", "1", "2"], folder.path(), "").0,
        0,
        "the end is cut off"
    );
    let (code, out, _) = keystead(&held, folder.path(), "");
    assert!(code == 1 && out.contains(&head), "{out}");
}

#[test]
fn a_removed_an_altered_and_a_moved_line_are_named_and_the_exit_code_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let mut removed = log(5);
    removed.remove(2);
    let (code, out, _) = keystead(&["verify", "-"], folder.path(), &removed.concat());
    assert!(
        code == 1 && out.contains("-:3: removed: line 2 of its chain"),
        "{out}"
    );
    let mut altered = log(5);
    altered[4] = altered[4].replace("shop", "shed");
    let (code, out, _) = keystead(
        &["verify", "-", "-o", "json"],
        folder.path(),
        &altered.concat(),
    );
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["intact"]), (1, &false.into()));
    assert_eq!(report["problems"][0]["line"], 5);
    assert_eq!(report["moreProblems"], 0);
    let flood = log(1).concat() + &"{\"stream\":\"audit\",\n".repeat(1005);
    let (_, out, _) = keystead(&["verify", "-"], folder.path(), &flood);
    assert!(out.contains("\n... and 5 more problems\nNOT INTACT: 1005 problems; "));
    let mut moved = log(5);
    moved.swap(1, 4);
    assert_eq!(
        keystead(&["verify", "-"], folder.path(), &moved.concat()).0,
        1
    );
}

#[test]
fn the_torn_end_of_a_killed_writer_is_no_tampering() {
    let folder = tempfile::tempdir().unwrap();
    let text = log(3).concat();
    let (code, out, _) = keystead(&["verify", "-"], folder.path(), &text[..text.len() - 30]);
    assert!(code == 0 && out.contains("note: -:4: torn"), "{out}");
}

#[test]
fn a_file_that_is_not_there_is_another_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, error) = keystead(&["verify", "nothing"], folder.path(), "");
    assert!(code == 2 && error.contains("nothing"), "{error}");
}

#[test]
fn who_used_lists_users_of_the_key_since_then() {
    let folder = tempfile::tempdir().unwrap();
    let text = log(3).concat();
    let since = "2026-11-25T00:00:00Z";
    for key in [ID, "shop/orders"] {
        let (code, out, _) = keystead(&["who-used", key, "--since", since], folder.path(), &text);
        assert_eq!(code, 0);
        let row: Vec<_> = out.lines().nth(1).unwrap().split_whitespace().collect();
        let expected = [
            "2026-11-25T10:00:00Z",
            "keystead:secret:shop:db",
            "secrets",
            "Decrypt",
            "Allow",
            "3",
        ];
        assert_eq!(row, expected);
    }
    let later = [
        "who-used",
        ID,
        "--since",
        "2026-11-26T00:00:00Z",
        "-o",
        "json",
    ];
    let (_, out, _) = keystead(&later, folder.path(), &text);
    assert_eq!(out.trim(), "[]");
    let bad = keystead(&["who-used", "orders", "--since", "1h"], folder.path(), "");
    assert!(bad.0 == 2 && bad.2.contains("namespace/name"), "{}", bad.2);
}
