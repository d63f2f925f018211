use std::process::Command;

use proptest::prelude::*;

use super::*;

/// Keys and their bytes.
type Entries<'a> = &'a [(&'a str, &'a [u8])];

const CANARY: &str = "C4N4RY";

fn values(entries: Entries<'_>) -> SecretValue {
    let owned = entries
        .iter()
        .map(|(key, bytes)| ((*key).to_owned(), SecretBytes::copy_of(bytes)));
    SecretValue::from_entries(owned).unwrap()
}

fn render(source: &str, entries: Entries<'_>) -> Result<Vec<u8>, TemplateError> {
    let template = Template::compile("out", source)?;
    template
        .render(&values(entries))
        .map(|bytes| bytes.expose().to_vec())
}

#[track_caller]
fn rendered(source: &str, entries: Entries<'_>) -> String {
    String::from_utf8(render(source, entries).unwrap()).unwrap()
}

#[track_caller]
fn refused(source: &str, entries: Entries<'_>) -> String {
    render(source, entries).unwrap_err().to_string()
}

#[test]
fn the_example_of_the_documentation_renders() {
    let source = "postgres://[[ username ]]:[[ password | urlencode ]]@[[ host ]]/orders";
    let entries: Entries<'_> = &[
        ("username", b"orders"),
        ("password", b"a b/%"),
        ("host", b"db"),
    ];
    assert_eq!(
        rendered(source, entries),
        "postgres://orders:a%20b%2F%25@db/orders"
    );
}

#[test]
fn what_is_around_an_expression_is_exact() {
    for text in [
        "",
        "\n",
        "a\n",
        "a\r\n",
        "a\r\n\r\n",
        " \t",
        "\u{feff}x",
        "{{ x }} {% y %} ${Z} $(Q)",
    ] {
        assert_eq!(rendered(text, &[]), text);
        let around = format!("{text}[[ v ]]{text}");
        assert_eq!(
            rendered(&around, &[("v", b"\nvalue\r\n")]),
            format!("{text}\nvalue\r\n{text}")
        );
    }
    assert_eq!(rendered("a[# a comment [[ x ]] #]b\n", &[]), "ab\n");
    assert_eq!(
        rendered("a  [%- if v -%]  b[% endif %]\n", &[("v", b"1")]),
        "ab\n"
    );
}

#[test]
fn values_that_look_like_something_else_are_left_alone() {
    for value in [
        "aGVsbG8=",
        r#"{"a":1}"#,
        "\u{1f511}",
        "<&>\"'",
        "[[ v ]]",
        "",
        "a\0b",
        "\u{feff}b",
    ] {
        assert_eq!(rendered("[[ v ]]", &[("v", value.as_bytes())]), value);
    }
}

#[test]
fn every_byte_survives_base64() {
    use base64::Engine as _;
    let all: Vec<u8> = (0..=255).collect();
    let text = rendered("[[ v | b64encode ]]", &[("v", &all)]);
    assert_eq!(
        base64::engine::general_purpose::STANDARD
            .decode(text)
            .unwrap(),
        all
    );
}

#[test]
fn awkward_keys_are_reached_by_their_exact_name() {
    let entries: Entries<'_> = &[
        ("a.b", b"dot"),
        (".dockerconfigjson", b"leading"),
        ("-x", b"dash"),
        ("keys", b"the key"),
        ("0", b"zero"),
        ("true", b"word"),
    ];
    let cases = [
        ("[[ keys[\"a.b\"] ]]", "dot"),
        ("[[ keys['a.b'] | json ]]", "\"dot\""),
        ("[[ keys[\".dockerconfigjson\"] ]]", "leading"),
        ("[[ keys[\"-x\"] ]]", "dash"),
        ("[[ keys.keys ]]", "the key"),
        ("[[ keys[\"keys\"] ]]", "the key"),
        ("[[ keys[\"0\"] ]]", "zero"),
        ("[[ keys.true ]]", "word"),
    ];
    for (source, expected) in cases {
        assert_eq!(rendered(source, entries), expected, "{source}");
    }
}

#[test]
fn conditions_decide() {
    let entries: Entries<'_> = &[
        ("port", b"5432"),
        ("empty", b""),
        ("a.b", b"1"),
        ("raw", b"\xff"),
    ];
    let cases = [
        ("port", true),
        ("empty", false),
        ("not empty", true),
        ("raw", true),
        ("port == '5432'", true),
        ("port != '5432'", false),
        ("port == empty", false),
        ("port is defined", true),
        ("other is defined", false),
        ("other is undefined", true),
        ("other is not defined", true),
        ("keys['a.b'] is defined", true),
        ("keys.other is defined", false),
        ("'a.b' in keys", true),
        ("'other' not in keys", true),
        ("other is defined and other == 'x'", false),
        ("port or other", true),
        ("not (port and empty)", true),
        ("port | b64encode == 'NTQzMg=='", true),
    ];
    for (condition, expected) in cases {
        let source = format!("[% if {condition} %]yes[% else %]no[% endif %]");
        assert_eq!(
            rendered(&source, entries),
            if expected { "yes" } else { "no" },
            "{condition}"
        );
    }
    let chain = "[% if empty %]1[% elif port == 'x' %]2[% elif port %]3[% else %]4[% endif %]";
    assert_eq!(rendered(chain, entries), "3");
}

#[test]
fn a_loop_visits_the_keys_in_order() {
    let source = "[% for name in keys %][[ name ]]=[[ keys[name] | shellquote ]]\n[% endfor %]";
    let entries: Entries<'_> = &[("b", b"it's"), ("a.x", b"1")];
    assert_eq!(rendered(source, entries), "a.x='1'\nb='it'\\''s'\n");
    let nested =
        "[% for x in keys %][% for y in keys %][[ x ]][[ y ]] [% endfor %][% endfor %][[ x ]]";
    assert_eq!(
        rendered(nested, &[("p", b""), ("q", b""), ("x", b"!")]),
        "pp pq px qp qq qx xp xq xx !"
    );
}

#[test]
fn url_encoding_leaves_only_unreserved_characters() {
    let all: String = (1..128_u8)
        .map(char::from)
        .chain(['é', '\u{1f511}'])
        .collect();
    let text = rendered("[[ v | urlquery ]]", &[("v", all.as_bytes())]);
    assert_eq!(
        rendered("[[ v | urlencode ]]", &[("v", all.as_bytes())]),
        text
    );
    assert!(
        text.contains("-.0123456789") || text.contains("-.%2F0123456789"),
        "{text}"
    );
    assert!(
        text.contains("%20") && text.contains("%27") && text.ends_with("~%7F%C3%A9%F0%9F%94%91"),
        "{text}"
    );
    let decoded = percent_decode(&text);
    assert_eq!(decoded, all.as_bytes());
    let kept: String = text.split('%').skip(1).map(|part| &part[2..]).collect();
    assert!(
        kept.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-._~".contains(c)),
        "{kept}"
    );
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let pair = [*rest.next().unwrap(), *rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
        } else {
            bytes.push(*byte);
        }
    }
    bytes
}

/// The characters that broke connection strings, files and scripts before, through the template that
/// a user would write for each.
#[test]
fn an_awkward_password_survives_the_formats_that_it_is_written_into() {
    let password = "-p:@/%;#?&=+\\\"'`$ {}<>|~!^,.[]";
    let entries: Entries<'_> = &[("password", password.as_bytes())];

    let url = rendered(
        "postgres://orders:[[ password | urlencode ]]@db:5432/orders",
        entries,
    );
    let uri: axum::http::Uri = url.parse().unwrap();
    let authority = uri.authority().unwrap();
    assert_eq!(
        (authority.host(), authority.port_u16(), uri.path()),
        ("db", Some(5432), "/orders")
    );
    let (user, _) = authority.as_str().split_once('@').unwrap();
    let encoded = user.strip_prefix("orders:").unwrap();
    assert_eq!(percent_decode(encoded), password.as_bytes());

    let json = rendered("{\"auth\": {\"password\": [[ password | json ]]}}", entries);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["auth"]["password"], password);

    let yaml = rendered(
        "kind: Config\npreferences:\n  password: [[ password | json ]]\n",
        entries,
    );
    let yaml = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
    let yaml = serde_json::to_value(yaml).unwrap();
    assert_eq!(yaml["preferences"]["password"], password);
}

#[test]
fn a_shell_reads_a_quoted_value_back() {
    let value: String = (1..128_u8)
        .map(char::from)
        .chain("$(id) `id` ''\\' é\n\n".chars())
        .collect();
    for filter in ["shellquote", "shell_quote"] {
        let script = format!("export P=[[ v | {filter} ]]; printf %s \"$P\"");
        let script = rendered(&script, &[("v", value.as_bytes())]);
        let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(output.stdout, value.as_bytes());
    }
    assert_eq!(rendered("[[ v | shellquote ]]", &[("v", b"")]), "''");
}

#[test]
fn yaml_is_the_form_of_json_that_yaml_reads() {
    let value = "y: \u{1f511}\"\\ #'\n\t\u{85}\u{2028}-";
    let text = rendered("a: [[ v | yaml ]]", &[("v", value.as_bytes())]);
    assert_eq!(
        text,
        rendered("a: [[ v | json ]]", &[("v", value.as_bytes())])
    );
    let read: std::collections::BTreeMap<String, String> = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(read["a"], value);
}

#[test]
fn only_the_blocks_of_a_label_are_taken_out_of_a_pem_text() {
    let block = |label: &str| format!("-----BEGIN {label}-----\nQUJD\n-----END {label}-----\n");
    let (certificate, key) = (block("CERTIFICATE"), block("PRIVATE KEY"));
    let bundle = format!("a comment\n{certificate}{key}{certificate}").replace('\n', "\r\n");
    let taken = |label: &str| {
        let source = format!("[[ v | filterPEM('{label}') ]]");
        render(&source, &[("v", bundle.as_bytes())]).map(|bytes| String::from_utf8(bytes).unwrap())
    };
    assert_eq!(taken("CERTIFICATE").unwrap(), certificate.repeat(2));
    assert_eq!(taken("PRIVATE KEY").unwrap(), key);
    let told = taken("EC PRIVATE KEY").unwrap_err().to_string();
    assert!(
        told.contains("value of `v` has no whole PEM block"),
        "{told}"
    );
    // What is cut off must not take the next block with it.
    let cut = format!("-----BEGIN CERTIFICATE-----\nQUJD\n{key}{certificate}");
    for text in [cut.as_str(), "-----BEGIN CERTIFICATE-----\nQUJD\n"] {
        refused(
            "[[ v | filterpem('CERTIFICATE') ]]",
            &[("v", text.as_bytes())],
        );
    }
}

proptest! {
    #[test]
    fn bytes_come_back_from_base64_and_from_pem(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let wrapped = encoded.as_bytes().chunks(20).collect::<Vec<_>>().join(&b'\n');
        let again = rendered("[[ v | b64decode | b64encode ]]", &[("v", &wrapped)]);
        prop_assert_eq!(&again, &encoded);
        let pem = rendered("[[ v | pem('ENCRYPTED DATA 1') ]]", &[("v", &bytes)]);
        let (label, read) = pkcs8::der::pem::decode_vec(pem.as_bytes()).unwrap();
        prop_assert_eq!((label, &read), ("ENCRYPTED DATA 1", &bytes));
        let filtered = rendered("[[ v | filterpem('ENCRYPTED DATA 1') ]]", &[("v", pem.as_bytes())]);
        prop_assert_eq!(filtered, pem);
    }

    #[test]
    fn any_text_is_decoded_or_filtered_or_refused(text in ".{0,200}") {
        for filter in ["b64decode", "filterpem('CERTIFICATE')"] {
            let _ = render(&format!("[[ v | {filter} ]]"), &[("v", text.as_bytes())]);
        }
    }
}

#[test]
fn unknown_names_are_told_with_their_place() {
    assert_eq!(
        refused("a\n[[ passwort ]]", &[("password", b"x")]),
        "template `out`, line 2, column 4: unknown name `passwort`; the secret has no such key"
    );
    assert_eq!(
        refused("a\n\n[% if keys[\"a.c\"] %][% endif %]", &[("a.b", b"x")]),
        "template `out`, line 3, column 7: unknown name `a.c`; the secret has no such key"
    );
    // A branch that is not taken is not looked at.
    assert_eq!(rendered("[% if x is defined %][[ x ]][% endif %]", &[]), "");
}

#[test]
fn bytes_that_are_not_text_name_the_key_and_the_remedy() {
    for source in [
        "[[ k ]]",
        "[[ k | urlencode ]]",
        "[[ k | json ]]",
        "[[ keys[\"k\"] | shellquote ]]",
    ] {
        let told = refused(source, &[("k", b"\xff")]);
        assert!(
            told.contains(": the value of `k` is not UTF-8 text")
                && told.contains("line 1, column ")
                && told.contains("write it with the filter b64encode or pem"),
            "{told}"
        );
    }
    let nul = refused("[[ k | shellquote ]]", &[("k", b"a\0b")]);
    assert!(nul.contains("value of `k` has a NUL"), "{nul}");
}

#[test]
fn what_is_not_part_of_the_language_is_refused_when_compiled() {
    let cases = [
        (
            "[[ tls.crt ]]",
            "a dot cannot be used here; a key with a dot in its name is keys[\"tls.crt\"]",
        ),
        (
            "[[ keys.a.b ]]",
            "a dot cannot be used here; a key with a dot in its name is keys[\"a.b\"]",
        ),
        ("[[ api-key ]]", "keys[\"a-b\"]"),
        ("[[ a ~ a ]]", "an operator cannot be used here"),
        ("[[ a * 3 ]]", "an operator cannot be used here"),
        ("[[ 1 ]]", "quote it"),
        ("[[ true ]]", "quote it"),
        ("[[ keys ]]", "keys by itself"),
        ("[[ [a, a] ]]", "a list or map"),
        ("[[ a[0] ]]", "an expression cannot be used here"),
        ("[[ keys[a] ]]", "write the name of a key in quotes"),
        ("[[ a[1:2] ]]", "a part of a value"),
        ("[[ range(9) ]]", "a function call"),
        ("[[ a if b else c ]]", "write [% if %]"),
        (
            "[[ a | upper ]]",
            "unknown filter `upper`; there are urlencode (urlquery), b64encode",
        ),
        ("[[ a | json(2) ]]", "a filter of this form"),
        ("[[ a | pem(b) ]]", "a filter of this form"),
        ("[[ a | json('x') ]]", "a filter with arguments"),
        ("[[ a | pem ]]", "as pem(\"CERTIFICATE\")"),
        ("[[ a | pem('certificate') ]]", "as pem(\"CERTIFICATE\")"),
        (
            "[[ a | filterpem('A  B') ]]",
            "the label of PEM that it needs",
        ),
        ("[% set a = b %]", "[% set %]"),
        ("[% set a %][[ b ]][% endset %]", "[% set %]"),
        ("[% with a = b %][% endwith %]", "[% with %]"),
        ("[% filter json %][% endfilter %]", "[% filter %]"),
        (
            "[% autoescape true %][% endautoescape %]",
            "[% autoescape %]",
        ),
        (
            "[% for c in a %][% endfor %]",
            "the only loop is [% for name in keys %]",
        ),
        ("[% for a, b in keys %][% endfor %]", "the only loop is"),
        (
            "[% for k in keys if k %][% endfor %]",
            "if, else or recursive",
        ),
        (
            "[% for k in keys %][% else %]x[% endfor %]",
            "if, else or recursive",
        ),
        ("[% if a < b %][% endif %]", "this operator"),
        ("[% if a is none %][% endif %]", "this test"),
        ("[% if a == b == c %][% endif %]", "a chain of comparisons"),
        (
            "[% include 'x' %]",
            "syntax error: unknown statement include",
        ),
        (
            "[% macro m() %][% endmacro %]",
            "syntax error: unknown statement macro",
        ),
        ("[[ a", "syntax error"),
        ("[[ a ] ]]", "syntax error"),
        ("[% if a %]", "syntax error"),
        ("[% endif %]", "syntax error"),
    ];
    for (source, expected) in cases {
        let error = Template::compile("out", &format!("\n{source}")).unwrap_err();
        assert!(error.to_string().contains(expected), "{source}: {error}");
        assert_eq!(error.place.line, 2, "{source}: {error}");
    }
}

#[test]
fn no_failing_path_tells_a_value() {
    let value = format!("{CANARY}'\"\\<%[[{{\n");
    let mut bytes = value.clone().into_bytes();
    bytes.push(0xff);
    let long = CANARY.repeat(MAX_OUTPUT / 6 - 4);
    let with_nul = format!("{CANARY}\0");
    let entries: Entries<'_> = &[
        ("a", value.as_bytes()),
        ("raw", &bytes),
        ("nul", with_nul.as_bytes()),
    ];
    let big: Entries<'_> = &[("a", long.as_bytes())];
    let failing: &[(&str, Entries<'_>)] = &[
        ("[[ a ]][[ b ]]", entries),
        ("[[ a ]][[ keys['b'] ]]", entries),
        ("[[ a ]][[ raw ]]", entries),
        ("[[ a | json ]][[ raw | json ]]", entries),
        ("[[ raw | urlencode ]]", entries),
        ("[[ raw | shellquote ]]", entries),
        ("[[ nul | shellquote ]]", entries),
        (
            "[% for k in keys %][[ keys[k] ]][[ k.x ]][% endfor %]",
            entries,
        ),
        ("[[ a ]][[ a.x ]]", entries),
        ("[[ a ]][% if a == %]", entries),
        ("[[ a ]][[ a | nofilter ]]", entries),
        ("[% if a == b %][% endif %]", entries),
        ("[[ a ]][[ a ]]", big),
        ("[[ a | b64encode ]]", big),
        ("[[ a | urlencode ]] [[ a | json | json ]]", big),
        ("[[ a | b64decode ]]", entries),
        ("[[ a | filterpem('KEY') ]]", entries),
        ("[[ a | pem('KEY') ]]", big),
    ];
    for (source, entries) in failing {
        let template = Template::compile("out", source);
        let error = template.and_then(|template| template.render(&values(entries)).map(|_| ()));
        let error = error.expect_err(source);
        let told = format!("{error} {error:?} {error:#?}");
        for form in ["C4N4RY", "QzRONFJZ", "C4N4"] {
            assert!(!told.contains(form), "{source}: {told}");
        }
    }
}

#[test]
fn the_output_is_bounded_to_the_byte() {
    let full = vec![b'x'; MAX_OUTPUT - 10];
    let source = format!("[[ v ]]{}", "y".repeat(10));
    assert_eq!(render(&source, &[("v", &full)]).unwrap().len(), MAX_OUTPUT);
    let error = render(&format!("\n{source}"), &[("v", &full)]).unwrap_err();
    assert_eq!(error.problem, TemplateProblem::OutputTooLong);
}

#[test]
fn loops_inside_of_loops_come_to_an_end() {
    let mut many = SecretValue::new();
    for index in 0..1_000 {
        many.insert(format!("k{index}"), SecretBytes::from(vec![b'v'; 200]))
            .unwrap();
    }
    let body = "[% if keys[a] | b64encode | b64encode == b %]x[% endif %]";
    let source = format!(
        "[% for a in keys %][% for b in keys %][% for c in keys %]{body}[% endfor %][% endfor %][% endfor %]"
    );
    let error = Template::compile("out", &source)
        .unwrap()
        .render(&many)
        .unwrap_err();
    assert_eq!(error.problem, TemplateProblem::TooMuchWork);
    let empty = "[% for a in keys %][% for b in keys %][% for c in keys %][% endfor %][% endfor %][% endfor %]";
    let error = Template::compile("out", empty)
        .unwrap()
        .render(&many)
        .unwrap_err();
    assert_eq!(error.problem, TemplateProblem::TooMuchWork);
}

/// Test threads have a stack of 2 MiB, as the threads of the runtime that renders do.
#[test]
fn deep_sources_are_refused_and_no_stack_overflows() {
    let deep = |open: &str, close: &str, times: usize| {
        format!("[[ {}a{} ]]", open.repeat(times), close.repeat(times))
    };
    let sources = [
        deep("-", "", 60_000),
        deep("not ", "", 15_000),
        deep("(", ")", 30_000),
        deep("[", "]", 30_000),
        deep("", "|json", 12_000),
        deep("", ".a", 30_000),
        deep("", " and a", 10_000),
        format!("[% if a %]{}[% endif %]", "[% elif a %]".repeat(5_000)),
        format!(
            "{}{}",
            "[% if a %]".repeat(3_000),
            "[% endif %]".repeat(3_000)
        ),
        "[% for k in keys %]".repeat(3_000),
        "[% endif ".repeat(7_000),
        "[#".repeat(30_000),
        "x".repeat(MAX_SOURCE + 1),
    ];
    for source in sources {
        let start: String = source.chars().take(20).collect();
        assert!(Template::compile("out", &source).is_err(), "{start}");
    }
}

#[test]
fn the_longest_accepted_constructions_fit_the_stack() {
    let sources = [
        format!("[[ a{} ]]", "|b64encode".repeat(31)),
        format!("[% if {}a %]x[% endif %]", "not ".repeat(62)),
        format!("[% if {}a{} %]x[% endif %]", "(".repeat(31), ")".repeat(31)),
        format!("[% if a %]{}[% endif %]", "[% elif a %]".repeat(250)),
        format!("{}x{}", "[% if a %]".repeat(100), "[% endif %]".repeat(100)),
        "\n".repeat(MAX_SOURCE),
        "x".repeat(MAX_SOURCE),
    ];
    for source in sources {
        let template = Template::compile("out", &source).unwrap_or_else(|error| panic!("{error}"));
        // Rendering may find the output too long; what matters is that it ends.
        let _ = template.render(&values(&[("a", b"1")]));
    }
}

proptest! {
    #[test]
    fn compiling_and_rendering_never_panic(source in "(\\[\\[|\\]\\]|\\[%|%\\]|if |for |endif|in |keys|a|\\.|\\||json|\"|'|\\[|\\]| |-|==|not |é|\n){0,40}") {
        if let Ok(template) = Template::compile("out", &source) {
            let _ = template.render(&values(&[("a", b"1"), ("raw", b"\xff")]));
        }
    }

    #[test]
    fn a_value_goes_through_unchanged(value in ".{0,40}", before in "[^\\[#%]{0,10}", after in "[^\\[#%]{0,10}") {
        let source = format!("{before}[[ v ]]{after}");
        let expected = format!("{before}{value}{after}");
        prop_assert_eq!(render(&source, &[("v", value.as_bytes())]).unwrap(), expected.as_bytes());
    }

    #[test]
    fn a_json_reader_gets_the_value_back(value in "(.|[\\x00-\\x1f\\x7f-\u{9f}\u{2028}\u{feff}\u{10ffff}\"\\\\]){0,40}") {
        for filter in ["json", "tojson"] {
            let text = rendered(&format!("[[ v | {filter} ]]"), &[("v", value.as_bytes())]);
            prop_assert_eq!(&serde_json::from_str::<String>(&text).unwrap(), &value);
        }
    }

    #[test]
    fn a_shell_word_has_only_quotes_escaped(value in "[^\\x00]{0,40}") {
        let text = rendered("[[ v | shellquote ]]", &[("v", value.as_bytes())]);
        let inner = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap();
        prop_assert_eq!(inner.replace("'\\''", "'"), value);
    }
}
