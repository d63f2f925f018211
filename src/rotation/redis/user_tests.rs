use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Answer {
    Answer::Text(SecretBytes::copy_of(text.as_bytes()))
}

fn texts(found: &[&str]) -> Answer {
    Answer::Array(found.iter().map(|found| text(found)).collect())
}

fn fields_of(fields: Vec<(&str, Answer)>) -> Answer {
    let fields = fields.into_iter();
    Answer::Array(
        fields
            .flat_map(|(name, shown)| [text(name), shown])
            .collect(),
    )
}

/// What Redis 7.0 shows of a user with those flags and passwords.
fn shown(flags: &[&str], passwords: &[&[u8]]) -> Answer {
    let digests = passwords.iter().map(|password| {
        let rule = Digest::of(password).added();
        text(std::str::from_utf8(&rule.expose()[1..]).unwrap())
    });
    let selector = |commands, keys, channels| {
        fields_of(vec![
            ("commands", text(commands)),
            ("keys", text(keys)),
            ("channels", text(channels)),
        ])
    };
    fields_of(vec![
        ("flags", texts(flags)),
        ("passwords", Answer::Array(digests.collect())),
        ("commands", text("-@all +@read +config|get -get")),
        ("keys", text("~or:* %R~ro:*")),
        ("channels", text("&ch")),
        (
            "selectors",
            Answer::Array(vec![
                selector("-@all +set", "~x:*", ""),
                selector("-@all +get", "", "&q"),
            ]),
        ),
    ])
}

fn user(flags: &[&str], passwords: &[&[u8]]) -> User {
    User::parse("orders", &shown(flags, passwords)).unwrap()
}

fn login(password: &[u8]) -> Login<'_> {
    Login {
        user: "orders",
        password,
    }
}

fn words(rules: &Rules) -> String {
    let rules: Vec<_> = rules.iter().map(SecretBytes::expose).collect();
    String::from_utf8(rules.join(&b' ')).unwrap()
}

#[test]
fn a_user_is_known_by_any_of_its_passwords_and_by_its_name() {
    let user = user(&["on"], &[b"one", b"two"]);
    assert!(user.knows(login(b"one")) && user.knows(login(b"two")));
    assert!(!user.knows(login(b"three")));
    assert!(!user.knows(Login {
        user: "other",
        password: b"one"
    }));
    assert!(user.refuse_off().is_ok() && user.refuse_open().is_ok());
    assert!(!format!("{user:?}").contains("7692c3ad"), "{user:?}");
}

#[test]
fn a_user_who_is_off_or_let_in_with_anything_is_refused_by_name_and_remedy() {
    let off = user(&["off"], &[b"one"]).refuse_off();
    let open = user(&["on", "nopass"], &[]).refuse_open();
    for (refused, remedy) in [(off, "`on`"), (open, "nopass")] {
        let Err(Outcome::Rejected(told)) = refused else {
            panic!("{refused:?}");
        };
        assert!(told.contains("orders") && told.contains(remedy), "{told}");
    }
}

#[test]
fn only_passwords_that_are_there_are_taken_away_and_only_those_that_are_not_are_added() {
    let user = user(&["on"], &[b"one", b"two"]);
    let (one, three) = (Digest::of(b"one"), Digest::of(b"three"));
    let added = three.added();
    let removed = one.removed();
    let rules = user.passwords(Some(login(b"three")), &[login(b"one"), login(b"gone")]);
    assert_eq!(rules, [added, removed]);
    assert!(user.passwords(Some(login(b"two")), &[]).is_empty());
    // The same one is taken away once, and never the one that is to be there.
    let rules = user.passwords(
        Some(login(b"two")),
        &[login(b"one"), login(b"one"), login(b"two")],
    );
    assert_eq!(rules, [one.removed()]);
}

#[test]
fn a_second_user_is_made_with_all_that_the_first_one_has_and_one_password() {
    let first = user(&["on", "skip-sanitize-payload"], &[b"one", b"foreign"]);
    let second = Login {
        user: "orders_clone",
        password: b"two",
    };
    let rules = words(&first.copied(None, second).unwrap());
    let digest = words(&vec![Digest::of(b"two").added()]);
    assert_eq!(
        rules,
        format!(
            "reset skip-sanitize-payload ~or:* %R~ro:* resetchannels &ch -@all +@read +config|get -get \
             (~x:* resetchannels -@all +set) (resetchannels &q -@all +get) on {digest}"
        )
    );
}

#[test]
fn a_second_user_is_made_anew_unless_it_is_already_as_it_is_to_be() {
    let first = user(&["on"], &[b"one"]);
    let second = Login {
        user: "orders_clone",
        password: b"two",
    };
    let anew = |other: Answer| {
        let other = User::parse("orders_clone", &other).unwrap();
        !first.copied(Some(&other), second).unwrap().is_empty()
    };
    assert!(!anew(shown(&["on"], &[b"two"])));
    assert!(!anew(shown(&["on", "sanitize-payload"], &[b"two"])));
    assert!(anew(shown(&["on"], &[b"two", b"one"])));
    assert!(anew(shown(&["on"], &[b"one"])));
    assert!(anew(shown(&["off"], &[b"two"])));
    assert!(anew(shown(&["on", "nopass"], &[])));
    assert!(anew(shown(&["on", "skip-sanitize-payload"], &[b"two"])));
    let mut less = shown(&["on"], &[b"two"]);
    if let Answer::Array(fields) = &mut less {
        fields[5] = text("-@all");
    }
    assert!(anew(less));
}

#[test]
fn rules_of_an_unknown_kind_are_no_matter_for_a_password_and_not_copied() {
    let unknown = || fields_of(vec![("databases", text("0"))]);
    let mut outside = shown(&["on"], &[b"one"]);
    let mut inside = shown(&["on"], &[b"one"]);
    if let (Answer::Array(outside), Answer::Array(inside)) = (&mut outside, &mut inside) {
        outside.extend([text("databases"), text("0")]);
        inside[11] = Answer::Array(vec![unknown()]);
    }
    for shown in [outside, inside] {
        let user = User::parse("orders", &shown).unwrap();
        assert!(user.knows(login(b"one")));
        let copied = user.copied(None, login(b"two"));
        assert!(matches!(copied, Err(Outcome::Rejected(_))));
    }
}

#[test]
fn what_is_shown_otherwise_is_not_understood() {
    for shown in [
        text("on"),
        Answer::Array(vec![text("flags")]),
        fields_of(vec![("flags", text("on"))]),
        fields_of(vec![("passwords", Answer::Array(vec![Answer::Nil]))]),
        // As before Redis 7.
        fields_of(vec![("keys", texts(&["x:*"]))]),
        fields_of(vec![("selectors", texts(&["x"]))]),
    ] {
        assert!(User::parse("orders", &shown).is_none(), "{shown:?}");
    }
}

proptest! {
    #[test]
    fn rules_are_passed_on_word_by_word(
        keys in proptest::collection::vec("%?[RW]{0,2}~[!-~]{0,9}", 0..4),
        commands in proptest::collection::vec("[+-]@?[a-z|]{1,9}", 0..4),
    ) {
        let shown = fields_of(vec![
            ("flags", texts(&["on"])),
            ("keys", text(&keys.join(" "))),
            ("commands", text(&commands.join(" "))),
        ]);
        let user = User::parse("orders", &shown).unwrap();
        let expected = [&keys[..], &["resetchannels".to_owned()], &commands].concat();
        prop_assert_eq!(words(&user.rights), expected.join(" "));
    }
}
