use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::crypto::{SealingPrivateKey, seal_to};
use crate::sealing::{Place, Scope, open};

/// Keys of one installation, the newest first, and their public halves.
fn keys(installation: u8, count: usize) -> (SealingKeys, Vec<SealingPublicKey>) {
    let id = InstallationId::from_bytes([installation; 16]);
    let key = |_| SealingPrivateKey::generate(id, &mut OsRandom).unwrap();
    let keys: Vec<_> = (0..count).map(key).collect();
    let public = keys.iter().map(|key| key.public(id)).collect();
    (SealingKeys::new(id, keys), public)
}

fn place(name: &str) -> Place {
    Place {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        context: BTreeMap::new(),
    }
}

fn entry(value: &str, key: &str, public: &SealingPublicKey) -> String {
    let context = place("db").context(Scope::Strict, key).unwrap();
    let recipients = std::slice::from_ref(public);
    STANDARD.encode(seal_to(value.as_bytes(), &context, recipients, &mut OsRandom).unwrap())
}

/// Two manifests with comments and in two styles.
fn text(first: &str, second: &str) -> String {
    format!(
        "# ours\nkind: ManagedSecret\nmetadata: {{name: db, namespace: shop}}\nspec:\n  sealed:\n    # of the app\n    \
         password: \"{first}\" # why\n---\nkind: Service\n---\nkind: ManagedSecret\n\
         metadata: {{name: db, namespace: shop}}\nspec: {{sealed: {{token: {second}}}}}\n# end\n"
    )
}

fn resealed_file(path: &Path, keys: &SealingKeys, to: &[SealingPublicKey], dry_run: bool) -> Done {
    let mut work = Work::look(path.to_owned(), to);
    let items: Vec<_> = work.wanted().collect();
    work.take(&mut resealed(&items, keys, to, &mut OsRandom).into_iter());
    work.finish(dry_run)
}

/// The two entries of such a file.
fn entries(path: &Path) -> [Item; 2] {
    let found = found(&File::read(path).unwrap()).unwrap();
    let items: Vec<_> = found.into_iter().map(|found| found.item).collect();
    items.try_into().unwrap()
}

#[test]
fn only_entries_under_another_key_change_and_every_other_byte_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.yaml");
    let (private, public) = keys(1, 2);
    let [newest, older] = [&public[0], &public[1]];
    let right = entry("two", "token", newest);
    let before = text(&entry("one", "password", older), &right);
    std::fs::write(&path, &before).unwrap();
    let to = std::slice::from_ref(newest);

    let done = resealed_file(&path, &private, to, true);
    assert_eq!((done.failed, done.rows[0].current), (None, false));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);

    let done = resealed_file(&path, &private, to, false);
    let told: Vec<_> = done.rows.iter().map(|row| row.status.as_str()).collect();
    assert_eq!((done.failed, told), (None, vec!["sealed anew", "current"]));
    let [password, token] = entries(&path);
    assert_eq!(token.entry, right);
    let after = std::fs::read_to_string(&path).unwrap();
    assert_eq!(after, text(&password.entry, &right));
    let opened = open(&password.entry, &password.place, "password", &private);
    assert_eq!(opened.unwrap().expose(), b"one");

    // Nothing is left to do, so the file is not touched.
    let modified = || std::fs::metadata(&path).unwrap().modified().unwrap();
    let was = modified();
    let done = resealed_file(&path, &private, to, false);
    assert!(done.rows.iter().all(|row| row.current) && modified() == was);
}

#[test]
fn a_file_with_an_entry_that_does_not_open_stays_and_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.yaml");
    let [(private, public), (_, foreign), (_, target)] = [keys(1, 1), keys(2, 1), keys(3, 1)];
    let good = entry("one", "password", &public[0]);
    for (what, bad, exit, part) in [
        (
            "foreign",
            entry("C4N4RY", "token", &foreign[0]),
            Exit::UnknownKeyVersion,
            "private keys",
        ),
        (
            "renamed",
            entry("C4N4RY", "other", &public[0]),
            Exit::Renamed,
            "key other",
        ),
        ("altered", "C4N4RY".to_owned(), Exit::Altered, "altered"),
    ] {
        let before = text(&good, &bad);
        std::fs::write(&path, &before).unwrap();
        let done = resealed_file(&path, &private, &target, false);
        assert_eq!(done.failed, Some(exit), "{what}");
        let [first, second] = [&done.rows[0], &done.rows[1]];
        assert!(
            first.status.starts_with("not written"),
            "{what}: {}",
            first.status
        );
        assert_eq!(
            (second.secret.as_str(), second.key.as_str()),
            ("shop/db", "token")
        );
        assert!(second.status.contains(part), "{what}: {}", second.status);
        assert!(!second.status.contains("C4N4RY"), "{what}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), before, "{what}");
    }
}

#[test]
fn entries_move_to_the_keys_of_another_installation_and_then_need_the_old_ones_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db.yaml");
    let [(old, old_public), (new, new_public), (_, more)] = [keys(1, 1), keys(2, 1), keys(3, 1)];
    let both = text(
        &entry("one", "password", &old_public[0]),
        &entry("two", "token", &old_public[0]),
    );
    std::fs::write(&path, both).unwrap();
    let to = [new_public[0].clone(), more[0].clone()];
    let done = resealed_file(&path, &old, &to, false);
    assert_eq!(done.failed, None);
    let gone = format!("installation {} does not", old.installation());
    assert!(
        done.rows[0].status.contains(&gone),
        "{}",
        done.rows[0].status
    );
    for (item, value) in entries(&path).iter().zip(["one", "two"]) {
        let opened = open(&item.entry, &item.place, &item.key, &new).unwrap();
        assert_eq!(opened.expose(), value.as_bytes());
        assert!(open(&item.entry, &item.place, &item.key, &old).is_err());
    }
    // What is right is not opened.
    assert_eq!(resealed_file(&path, &old, &to, false).failed, None);
    // One recipient fewer is another set.
    let fewer = resealed_file(&path, &new, &new_public, false);
    assert!(
        fewer
            .rows
            .iter()
            .all(|row| row.status.contains(&more[0].installation().to_string()))
    );
}
