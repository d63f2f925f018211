use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn attributes(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn parse(pairs: &[(&str, &str)]) -> Result<VolumeRequest, VolumeError> {
    VolumeRequest::parse(&attributes(pairs))
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    parse(pairs).unwrap_err().to_string()
}

#[test]
fn the_name_of_a_secret_is_enough() {
    let request = parse(&[("secret", "orders-db")]).unwrap();
    assert_eq!(request.sources(), [VolumeSource::of("orders-db")]);
    assert_eq!(request.default_mode().bits(), 0o644);
}

#[test]
fn everything_that_a_secret_volume_says_can_be_said() {
    let request = parse(&[
        ("secret", "orders-db"),
        (
            "items",
            r#"[{"key":"password","path":"db/pw","mode":256},{"key":"user","path":"u"}]"#,
        ),
        ("optional", "true"),
        ("stage", "Previous"),
        ("defaultMode", "0440"),
        ("csi.storage.k8s.io/pod.name", "orders-0"),
        ("csi.storage.k8s.io/ephemeral", "true"),
    ])
    .unwrap();
    let [source] = request.sources() else {
        panic!("one source")
    };
    assert!(source.optional);
    assert_eq!(source.stage.version_stage(), "AWSPREVIOUS");
    assert_eq!(source.items[0].mode.unwrap().bits(), 0o400);
    assert_eq!(
        (source.items[1].mode, request.default_mode().bits()),
        (None, 0o440)
    );
}

#[test]
fn several_secrets_fit_in_one_volume() {
    let sources =
        r#"[{"secret":"a","items":[{"key":"k","path":"a/k"}]},{"secret":"b","optional":true}]"#;
    let request = parse(&[("sources", sources)]).unwrap();
    assert_eq!(request.secrets(), BTreeSet::from(["a", "b"]));
    assert!(request.sources()[1].optional);
}

#[test]
fn an_attribute_that_does_not_exist_is_named_with_those_that_do() {
    let refusal = refusal(&[("secret", "a"), ("secretname", "a")]);
    assert!(refusal.contains("\"secretname\""), "{refusal}");
    for known in KNOWN {
        assert!(refusal.contains(known), "{refusal}");
    }
}

#[test]
fn what_is_not_valid_is_refused_by_name() {
    let long = format!("[{{\"key\":\"{}\",\"path\":\"p\"}}]", "k".repeat(254));
    for (attributes, expected) in [
        (vec![], "no secret is named"),
        (
            vec![("secret", "a"), ("sources", "[]")],
            "exclude each other",
        ),
        (vec![("sources", "[]")], "1 to 64 sources"),
        (
            vec![("sources", r#"[{"secret":"a"}]"#), ("stage", "Current")],
            "\"stage\" goes with",
        ),
        (
            vec![("secret", "a"), ("optional", "yes")],
            "\"optional\" is not valid",
        ),
        (
            vec![("secret", "a"), ("stage", "Next")],
            "\"stage\" is not valid",
        ),
        (
            vec![("secret", "a"), ("items", "{")],
            "\"items\" is not valid",
        ),
        (
            vec![("secret", "a"), ("items", r#"[{"key":"k"}]"#)],
            "missing field `path`",
        ),
        (
            vec![
                ("secret", "a"),
                ("items", r#"[{"key":"k","path":"p","mode":512}]"#),
            ],
            "0 to 511",
        ),
        (
            vec![
                ("secret", "a"),
                ("items", r#"[{"key":"k","path":"p","owner":1}]"#),
            ],
            "owner",
        ),
        (
            vec![("secret", "a"), ("items", r#"[{"key":"","path":"p"}]"#)],
            "1 to 253 characters",
        ),
        (
            vec![("secret", "a"), ("items", long.as_str())],
            "1 to 253 characters",
        ),
        (vec![("secret", "shop/orders")], "without their namespace"),
        (vec![("secret", "../orders")], "without their namespace"),
        (vec![("secret", "")], "without their namespace"),
        (vec![("secret", "a-.b")], "without their namespace"),
        (
            vec![("secret", "a"), ("defaultMode", "0o400")],
            "\"defaultMode\"",
        ),
        (
            vec![("secret", "a"), ("defaultMode", "1777")],
            "\"defaultMode\"",
        ),
        (
            vec![("secret", "a"), ("defaultMode", "+644")],
            "\"defaultMode\"",
        ),
    ] {
        let refusal = refusal(&attributes);
        assert!(refusal.contains(expected), "{attributes:?}: {refusal}");
    }
}

#[test]
fn a_default_mode_is_read_as_chmod_reads_it() {
    for (digits, bits) in [
        ("0400", 0o400),
        ("400", 0o400),
        ("0777", 0o777),
        ("0000", 0),
    ] {
        let request = parse(&[("secret", "a"), ("defaultMode", digits)]).unwrap();
        assert_eq!(request.default_mode().bits(), bits);
    }
}

#[test]
fn paths_stay_inside_the_volume() {
    let long = "a/".repeat(2049);
    let long_name = "n".repeat(256);
    for path in [
        "",
        ".",
        "./",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "..data",
        "./..data",
        "..x",
        "a\0b",
        &long,
        &long_name,
    ] {
        let items = vec![VolumeItem {
            key: "k".to_owned(),
            path: path.to_owned(),
            mode: None,
        }];
        let source = VolumeSource {
            items,
            ..VolumeSource::of("a")
        };
        let refused = VolumeRequest::new(vec![source], FileMode::DEFAULT);
        assert!(matches!(refused, Err(VolumeError::Path { .. })), "{path:?}");
    }
}

#[test]
fn no_two_items_have_one_place() {
    for (one, other) in [
        ("a", "a"),
        ("a", "./a"),
        ("a/b", "a//b"),
        ("a", "a/b"),
        ("a/b/c", "a"),
    ] {
        let items = |path: &str| {
            vec![VolumeItem {
                key: "k".to_owned(),
                path: path.to_owned(),
                mode: None,
            }]
        };
        let sources = [("s", one), ("t", other)].map(|(secret, path)| VolumeSource {
            items: items(path),
            ..VolumeSource::of(secret)
        });
        let refused = VolumeRequest::new(sources.to_vec(), FileMode::DEFAULT);
        assert!(
            matches!(refused, Err(VolumeError::SamePath(_))),
            "{one} and {other}"
        );
    }
}

#[test]
fn the_number_of_sources_and_items_is_bounded() {
    let many = vec![VolumeSource::of("a"); MAX_SOURCES + 1];
    let refused = VolumeRequest::new(many, FileMode::DEFAULT);
    assert_eq!(refused, Err(VolumeError::SourceCount(65)));
    let items = (0..=MAX_ITEMS).map(|number| VolumeItem {
        key: "k".to_owned(),
        path: number.to_string(),
        mode: None,
    });
    let source = VolumeSource {
        items: items.collect(),
        ..VolumeSource::of("a")
    };
    let refused = VolumeRequest::new(vec![source], FileMode::DEFAULT);
    assert_eq!(refused, Err(VolumeError::ItemCount(513)));
}

fn modes() -> impl Strategy<Value = FileMode> {
    (0_u32..=0o777).prop_map(|bits| bits.try_into().unwrap())
}

fn sources() -> impl Strategy<Value = Vec<VolumeSource>> {
    let item = ("[a-zA-Z0-9._-]{1,20}", proptest::option::of(modes()));
    let source = (
        "[a-z0-9]{1,8}([.-][a-z0-9]{1,8}){0,2}",
        vec(item, 0..5),
        any::<bool>(),
        any::<bool>(),
    );
    vec(source, 1..5).prop_map(|sources| {
        let mut number = 0;
        let mut numbered = |(key, mode)| {
            number += 1;
            let path = format!("d{}/{number} \"'ü", number % 3);
            VolumeItem { key, path, mode }
        };
        let stage = |previous: bool| {
            if previous {
                VolumeStage::Previous
            } else {
                VolumeStage::Current
            }
        };
        let mut source = |(secret, items, optional, previous): (_, Vec<_>, _, _)| VolumeSource {
            secret,
            items: items.into_iter().map(&mut numbered).collect(),
            optional,
            stage: stage(previous),
        };
        sources.into_iter().map(&mut source).collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(sources in sources(), mode in modes(), follows in any::<bool>()) {
        let request = VolumeRequest::new(sources, mode).unwrap();
        let request = if follows { request } else { request.fixed() };
        prop_assert_eq!(VolumeRequest::parse(&request.attributes()), Ok(request));
    }

    #[test]
    fn nothing_that_is_written_breaks_the_reader(pairs in proptest::collection::btree_map(
        prop_oneof![Just("secret".to_owned()), Just("items".to_owned()), Just("sources".to_owned()), Just("defaultMode".to_owned())],
        "\\PC{0,40}", 0..4,
    )) {
        let _ = VolumeRequest::parse(&pairs);
    }
}
