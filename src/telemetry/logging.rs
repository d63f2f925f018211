//! Log lines on standard output.
//!
//! A line never holds the body of a request or of an answer. The Kubernetes client logs the text
//! of an answer that it cannot parse, and that may be a Secret; these lines are dropped whatever
//! the filter says.

use std::io;

use clap::ValueEnum;
use thiserror::Error;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, FilterFn, ParseError, Targets};
use tracing_subscriber::layer::Filter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// What libraries may say unless the filter names them. A prefix covers the crates of a family.
const LIBRARIES: &str = "hyper=warn,kube=warn,rustls=warn,tower=warn,h2=warn";
/// The one module of the Kubernetes client that logs bodies.
const LOGS_BODIES: &str = "kube_client::client";
/// The filter when none is given.
const DEFAULT_FILTER: &str = "info";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Logging cannot be set up.
#[derive(Debug, Error)]
pub enum InitError {
    /// The filter cannot be parsed.
    #[error("the log filter is not valid")]
    ParseFilter(#[source] ParseError),
    /// Another logger is already installed in this process.
    #[error("a logger is already installed")]
    Install(#[source] TryInitError),
}

/// Sends the log lines of this process to standard output. `filter` is in the syntax of
/// `RUST_LOG`; empty means `info`.
pub fn init(format: Format, filter: &str) -> Result<(), InitError> {
    install(layer(format, filter, io::stdout)?)
}

/// As [`init`], for the node plugin, which runs on every node and shall be small: of the syntax it
/// knows what says no more than targets and levels (`info,keystead=debug`), and anything else means
/// `info`. A parser of the rest would be a twentieth of the program.
pub(crate) fn init_small(format: Format, filter: &str) -> Result<(), InitError> {
    install(shown(format, targets(filter), io::stdout))
}

fn install(layer: Box<dyn Layer<Registry> + Send + Sync>) -> Result<(), InitError> {
    Registry::default()
        .with(layer)
        .try_init()
        .map_err(InitError::Install)
}

fn layer<W>(
    format: Format,
    filter: &str,
    writer: W,
) -> Result<Box<dyn Layer<Registry> + Send + Sync>, InitError>
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(directives(filter)).map_err(InitError::ParseFilter)?;
    Ok(shown(format, filter, writer))
}

/// The caller's directives after ours: of two for the same target the later one counts.
fn directives(filter: &str) -> String {
    let filter = match filter.trim() {
        "" => DEFAULT_FILTER,
        filter => filter,
    };
    format!("{LIBRARIES},{filter}")
}

fn targets(filter: &str) -> Targets {
    let parsed = directives(filter).parse();
    parsed.unwrap_or_else(|_| Targets::new().with_default(Level::INFO))
}

fn shown<F, W>(format: Format, filter: F, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    F: Filter<Registry> + Send + Sync + 'static,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter.and(FilterFn::new(is_free_of_bodies));
    let layer = fmt::layer().with_writer(writer);
    match format {
        Format::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        Format::Text => layer.with_ansi(false).with_filter(filter).boxed(),
    }
}

fn is_free_of_bodies(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() || metadata.target() != LOGS_BODIES
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;
    use tracing::{debug, info, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: Format, filter: &str, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = layer(format, filter, move || writer.clone()).unwrap();
        with_default(Registry::default().with(layer), log);
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines_are_objects_with_the_fields_at_the_top() {
        let line = logged(Format::Json, "info", || {
            info!(key = "shop/orders", "rotated");
        });
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["message"], "rotated");
        assert_eq!(line["key"], "shop/orders");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn text_lines_carry_no_terminal_codes() {
        let line = logged(Format::Text, "info", || {
            info!(key = "shop/orders", "rotated");
        });
        assert!(line.contains("rotated key=\"shop/orders\""), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn an_empty_filter_means_info() {
        let lines = logged(Format::Text, " ", || {
            info!("shown");
            debug!("hidden");
        });
        assert!(
            lines.contains("shown") && !lines.contains("hidden"),
            "{lines}"
        );
    }

    #[test]
    fn libraries_are_quiet_until_the_filter_names_them() {
        let log = || {
            debug!(target: "kube_runtime::watcher", "watching");
            info!(target: "hyper_util::client", "connected");
            warn!(target: "kube_runtime::watcher", "late");
        };
        let lines = logged(Format::Text, "debug", log);
        assert!(lines.contains("late"), "{lines}");
        assert!(
            !lines.contains("watching") && !lines.contains("connected"),
            "{lines}"
        );
        let lines = logged(Format::Text, "info,kube=debug,hyper=info", log);
        assert!(
            lines.contains("watching") && lines.contains("connected"),
            "{lines}"
        );
    }

    #[test]
    fn bodies_are_not_logged_whatever_the_filter_says() {
        let lines = logged(
            Format::Text,
            "trace,kube=trace,kube_client::client=trace",
            || {
                warn!(target: "kube_client::client", "{{\"data\":{{\"password\":\"aHVudGVyMg==\"}}}}");
                warn!(target: "kube_client::client::builder", "failed with status 503");
            },
        );
        assert!(!lines.contains("aHVudGVyMg"), "{lines}");
        assert!(lines.contains("failed with status 503"), "{lines}");
    }

    #[test]
    fn the_small_filter_knows_targets_and_levels() {
        let logged = |filter: &str| {
            let sink = Sink::default();
            let writer = sink.clone();
            let layer = shown(Format::Text, targets(filter), move || writer.clone());
            with_default(Registry::default().with(layer), || {
                debug!(target: "keystead::node", "detail");
                info!(target: "keystead::node", "event");
                info!(target: "h2::codec", "frame");
            });
            let bytes = sink.0.lock().unwrap().clone();
            String::from_utf8(bytes).unwrap()
        };
        let shows = |filter: &str| {
            let lines = logged(filter);
            ["detail", "event", "frame"].map(|word| lines.contains(word))
        };
        assert_eq!(shows(""), [false, true, false]);
        assert_eq!(shows("warn"), [false, false, false]);
        assert_eq!(shows("info,keystead=debug"), [true, true, false]);
        assert_eq!(shows("warn,h2=info"), [false, false, true]);
        // What it does not know is no reason not to start.
        assert_eq!(shows("[span{field=1}]=loud"), [false, true, true]);
    }

    #[test]
    fn a_filter_that_cannot_be_parsed_is_refused() {
        assert!(matches!(
            layer(Format::Json, "keystead=loud", io::stdout),
            Err(InitError::ParseFilter(_))
        ));
    }
}
