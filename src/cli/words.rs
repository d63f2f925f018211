//! What several commands understand alike: durations, pairs, and an output that nobody reads.

use std::io;

use k8s_openapi::jiff::SignedDuration;

/// A duration in one unit: `40s`, `90m`, `24h`, `7d`. Not negative.
///
/// # Errors
/// What is expected.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let expected = || "give a number and a unit, such as 90m, 24h, 7d".to_owned();
    let end = text.len().saturating_sub(1);
    let (number, unit) = text.split_at_checked(end).ok_or_else(expected)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = number.parse().map_err(|_| expected())?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}

/// A pair `KEY=VALUE`; the value may have a `=`.
///
/// # Errors
/// What is expected.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or("give KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Whether an error only says that nobody reads the output any more.
pub(crate) fn is_closed(error: &anyhow::Error) -> bool {
    let io = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_number_and_a_unit() {
        assert_eq!(duration("7d").unwrap(), SignedDuration::from_hours(168));
        assert_eq!(duration("90m").unwrap(), SignedDuration::from_mins(90));
        for bad in ["", "d", "7", "7w", "-3h", "é", "1.5h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pair_is_cut_at_the_first_sign() {
        assert_eq!(pair("a=b=c").unwrap(), ("a".to_owned(), "b=c".to_owned()));
        assert!(pair("=b").is_err() && pair("a").is_err());
    }
}
