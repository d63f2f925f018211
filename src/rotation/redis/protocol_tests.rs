use proptest::prelude::*;

use super::*;

fn text(text: &[u8]) -> Answer {
    Answer::Text(SecretBytes::copy_of(text))
}

/// An answer, as a server writes it.
fn written(answer: &Answer) -> Vec<u8> {
    match answer {
        Answer::Text(text) => {
            let head = format!("${}\r\n", text.len()).into_bytes();
            [&head, text.expose(), b"\r\n"].concat()
        }
        Answer::Refusal(Refusal(text)) => [b"-", text.expose(), b"\r\n"].concat(),
        Answer::Nil => b"$-1\r\n".to_vec(),
        Answer::Array(items) => {
            let head = format!("*{}\r\n", items.len()).into_bytes();
            let items = items.iter().flat_map(written);
            head.into_iter().chain(items).collect()
        }
    }
}

fn answers() -> impl Strategy<Value = Answer> {
    let leaf = prop_oneof![
        any::<()>().prop_map(|()| Answer::Nil),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| text(&bytes)),
        "[A-Z]{1,9} [ -~]{0,30}".prop_map(|words| Answer::Refusal(Refusal::new(words.as_bytes()))),
    ]
    .boxed();
    (0..MAX_DEPTH - 1).fold(leaf, |inner, _| {
        let array = proptest::collection::vec(inner.clone(), 0..4).prop_map(Answer::Array);
        prop_oneof![2 => inner, 1 => array].boxed()
    })
}

#[test]
fn an_answer_of_each_kind_is_understood() {
    for (came, expected) in [
        (&b"+OK\r\n"[..], text(b"OK")),
        (b":-7\r\n", text(b"-7")),
        (b"$0\r\n\r\n", text(b"")),
        (b"$4\r\na\r\nb\r\n", text(b"a\r\nb")),
        (b"$-1\r\n", Answer::Nil),
        (b"*-1\r\n", Answer::Nil),
        (
            b"*2\r\n$1\r\na\r\n*0\r\n",
            Answer::Array(vec![text(b"a"), Answer::Array(vec![])]),
        ),
    ] {
        let (answer, length) = decode(came).unwrap().unwrap();
        assert_eq!((answer, length), (expected, came.len()));
    }
}

#[test]
fn what_is_no_answer_or_too_long_is_refused_before_it_has_come() {
    let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
    let endless = [b'+'; MAX_LINE];
    let long = format!("${}\r\n", MAX_ANSWER + 1);
    for came in [
        &b"HTTP/1.1 400 Bad Request\r\n"[..],
        b"\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"$+1\r\n",
        b"$\r\n",
        b"$1\r\nab\r\n",
        b"*99999999999999999999999\r\n",
        b"%1\r\n",
        &deep,
        &endless,
        long.as_bytes(),
    ] {
        assert_eq!(decode(came), Err(Malformed), "{}", came.escape_ascii());
    }
}

#[test]
fn a_refusal_tells_its_code_and_nothing_else_of_the_other_sides() {
    let refusal = Refusal::new(b"WRONGPASS invalid username-password pair");
    assert_eq!(refusal.code(), "WRONGPASS");
    assert!(refusal.says("Username-Password"));
    assert!(!refusal.says("pw-1"));
    assert!(!format!("{refusal:?}").contains("invalid"));
    for text in [
        &b""[..],
        b" ERR",
        b"err x",
        b"#9f86",
        b"ERR-1",
        b"AAAAAAAAAAAAAAAAA",
    ] {
        assert_eq!(Refusal::new(text).code(), "no valid code");
    }
}

#[test]
fn a_command_is_its_parts_and_nothing_more() {
    let parts = [&b"AUTH"[..], b"o", b"a\r\n$1\r\nb", b""];
    let sent = encode(parts.into_iter());
    let expected = b"*4\r\n$4\r\nAUTH\r\n$1\r\no\r\n$8\r\na\r\n$1\r\nb\r\n$0\r\n\r\n";
    assert_eq!(sent.expose(), expected);
}

proptest! {
    #[test]
    fn an_answer_is_the_same_again_whatever_follows(
        answer in answers(),
        more in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let whole = written(&answer);
        let came = [&whole[..], &more].concat();
        prop_assert_eq!(decode(&came), Ok(Some((answer, whole.len()))));
    }

    #[test]
    fn an_answer_that_is_cut_is_waited_for(answer in answers(), cut in any::<prop::sample::Index>()) {
        let whole = written(&answer);
        let part = &whole[..cut.index(whole.len())];
        prop_assert_eq!(decode(part), Ok(None));
    }

    #[test]
    fn a_command_is_read_as_it_was_written(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..5),
    ) {
        let sent = encode(parts.iter().map(Vec::as_slice));
        let items = parts.iter().map(|part| text(part)).collect();
        prop_assert_eq!(decode(sent.expose()), Ok(Some((Answer::Array(items), sent.len()))));
    }

    #[test]
    fn nothing_makes_it_panic(came in proptest::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(&b"*$+-:\r\n0123456789"[..])], 0..60,
    )) {
        if let Ok(Some((_, length))) = decode(&came) {
            prop_assert!(length <= came.len());
        }
    }
}
