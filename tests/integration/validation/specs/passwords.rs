//! Generators that are refused.

use serde_json::json;

use super::{Refused, long, password};

const CLASS_EXCLUDED: &str = "exclude leaves no character of a class: exclude fewer, name only the other classes in classes, or set requireEachClass: false";

/// Policies that nothing could satisfy.
pub(super) fn refused() -> Vec<Refused> {
    let mut cases = vec![
        (
            password(&json!({"length": 3})),
            &[
                "spec.generate[0].password",
                "raise length, name fewer classes, or set requireEachClass: false",
            ][..],
        ),
        (
            password(&json!({"length": 1, "classes": ["Digits", "Lowercase"]})),
            &["length must be at least the number of classes"],
        ),
        (
            password(&json!({"classes": ["Digits"], "symbols": "+"})),
            &[
                "spec.generate[0].password",
                "symbols is given but classes lacks Symbols: add it, or drop symbols",
            ],
        ),
        (
            password(&json!({"classes": []})),
            &["spec.generate[0].password.classes", "at least 1 items"],
        ),
        (
            password(&json!({"classes": ["Digits", "Digits"]})),
            &["spec.generate[0].password.classes[1]: Duplicate value"],
        ),
        (
            password(&json!({"classes": ["Emoji"]})),
            &[
                "spec.generate[0].password.classes[0]",
                "supported values",
                "Lowercase",
                "Symbols",
            ],
        ),
        (
            password(&json!({"symbols": ""})),
            &["spec.generate[0].password.symbols", "at least 1 chars"],
        ),
        (
            password(&json!({"symbols": "a"})),
            &["spec.generate[0].password.symbols", "should match"],
        ),
        (
            password(&json!({"symbols": long(33)})),
            &["spec.generate[0].password.symbols", "more than 32"],
        ),
        (
            password(&json!({"exclude": "é"})),
            &["spec.generate[0].password.exclude", "should match"],
        ),
        (
            password(&json!({"exclude": long(96)})),
            &["spec.generate[0].password.exclude", "more than 95"],
        ),
        (
            password(&json!({"symbols": "+=", "exclude": "x=+"})),
            &[CLASS_EXCLUDED],
        ),
        (
            password(
                &json!({"classes": ["Symbols", "Digits"], "exclude": "-_", "requireEachClass": true}),
            ),
            &[CLASS_EXCLUDED],
        ),
    ];
    for class in [
        "abcdefghijklmnopqrstuvwxyz",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "9876543210",
        "_-",
    ] {
        cases.push((
            password(&json!({"exclude": class})),
            &["spec.generate[0].password", CLASS_EXCLUDED],
        ));
    }
    cases.push((
        json!({"generate": [{"key": "a", "bytes": {"encoding": "Base58"}}]}),
        &[
            "spec.generate[0].bytes.encoding",
            "supported values",
            "Base64Url",
        ],
    ));
    cases
}

/// Lengths out of bounds.
pub(super) fn lengths() -> Vec<Refused> {
    let mut cases = Vec::new();
    let length = |generator: &str, length: i64| json!({"generate": [{"key": "a", generator: {"length": length}}]});
    let fields: [(&str, [&'static [&'static str]; 2]); 3] = [
        (
            "password",
            [
                &[
                    "spec.generate[0].password.length",
                    "greater than or equal to 1",
                ],
                &[
                    "spec.generate[0].password.length",
                    "less than or equal to 4096",
                ],
            ],
        ),
        (
            "bytes",
            [
                &[
                    "spec.generate[0].bytes.length",
                    "greater than or equal to 1",
                ],
                &[
                    "spec.generate[0].bytes.length",
                    "less than or equal to 4096",
                ],
            ],
        ),
        (
            "hex",
            [
                &["spec.generate[0].hex.length", "greater than or equal to 1"],
                &["spec.generate[0].hex.length", "less than or equal to 4096"],
            ],
        ),
    ];
    for (generator, [low, high]) in fields {
        cases.extend([
            (length(generator, 0), low),
            (length(generator, -1), low),
            (length(generator, 4097), high),
        ]);
    }
    cases
}
