//! For tests: the metrics that the chart and the pages speak of must be there.

use std::collections::BTreeSet;

/// The dashboard of the chart.
const DASHBOARD: &str = include_str!("../../charts/keystead/dashboards/keystead.json");
/// The alerts of the chart.
const ALERTS: &str = include_str!("../../charts/keystead/rules/alerts.yaml");
/// The page about metrics and alerts.
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// Fails if the chart or the page names a metric of a program that is not in what the program shows, or none at all.
pub(crate) fn assert_known(metrics: &str, is_of_program: impl Fn(&str) -> bool) {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let shown: BTreeSet<_> = samples
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for (file, text) in [
        ("dashboard", DASHBOARD),
        ("alerts", ALERTS),
        ("documentation", OPERATIONS),
    ] {
        let named: BTreeSet<_> = text
            .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
            // The beginning of several names.
            .filter(|word| is_of_program(word) && !word.ends_with('_'))
            .collect();
        assert!(!named.is_empty(), "the {file} names no metrics");
        let unknown: Vec<_> = named.difference(&shown).collect();
        assert!(unknown.is_empty(), "{file}: no such metrics: {unknown:?}");
    }
}
