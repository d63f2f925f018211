//! How long ago something was: computed when somebody asks, since it grows by itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

type Age = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// The metric, in seconds; absent while nobody knows. Clones are handles of the same.
#[derive(Clone)]
pub(crate) struct AskedAge {
    name: &'static str,
    help: &'static str,
    ask: Arc<Mutex<Option<Age>>>,
}

impl AskedAge {
    /// One of that name, without its unit.
    pub(crate) fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            ask: Arc::default(),
        }
    }

    /// From now on that says how old.
    pub(crate) fn ask(&self, age: impl Fn() -> Option<Duration> + Send + Sync + 'static) {
        *self.ask.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(age));
    }

    fn age(&self) -> Option<Duration> {
        let ask = self.ask.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref()?()
    }
}

impl fmt::Debug for AskedAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AskedAge").field(&self.age()).finish()
    }
}

impl Collector for AskedAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(age) = self.age() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(age.as_secs_f64());
        gauge.encode(encoder.encode_descriptor(
            self.name,
            self.help,
            Some(&Unit::Seconds),
            gauge.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn it_is_absent_until_there_is_a_proof_and_then_asked_each_time() {
        let metric = AskedAge::new("state_age", "How old it is");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metric.clone()));
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert_eq!(shown(), "# EOF\n");
        let seconds = Mutex::new(1.5);
        metric.ask(move || {
            let mut seconds = seconds.lock().unwrap();
            *seconds += 1.0;
            Some(Duration::from_secs_f64(*seconds))
        });
        assert!(shown().contains("state_age_seconds 2.5\n"));
        assert!(shown().contains("state_age_seconds 3.5\n"));
    }
}
