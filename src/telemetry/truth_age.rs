//! How old the newest proof is that this replica knows the keys' states: computed when somebody asks, since it grows by
//! itself.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

type Age = Box<dyn Fn() -> Option<Duration> + Send + Sync>;

/// The metric; absent while nothing is proven, and on replicas that prove nothing. Clones are handles of the same.
#[derive(Clone, Default)]
pub(super) struct TruthAge(Arc<Mutex<Option<Age>>>);

impl TruthAge {
    /// From now on that says how old.
    pub(super) fn ask(&self, age: Age) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(age);
    }

    fn age(&self) -> Option<Duration> {
        let ask = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ask.as_ref()?()
    }
}

impl fmt::Debug for TruthAge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TruthAge").field(&self.age()).finish()
    }
}

impl Collector for TruthAge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(age) = self.age() else {
            return Ok(());
        };
        let gauge = ConstGauge::new(age.as_secs_f64());
        gauge.encode(encoder.encode_descriptor(
            "keystead_key_state_age",
            "How long ago the known state of all keys was last confirmed",
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
        let (metric, mut registry) = (TruthAge::default(), Registry::default());
        registry.register_collector(Box::new(metric.clone()));
        let shown = || {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            text
        };
        assert_eq!(shown(), "# EOF\n");
        let seconds = Mutex::new(1.5);
        metric.ask(Box::new(move || {
            let mut seconds = seconds.lock().unwrap();
            *seconds += 1.0;
            Some(Duration::from_secs_f64(*seconds))
        }));
        assert!(shown().contains("keystead_key_state_age_seconds 2.5\n"));
        assert!(shown().contains("keystead_key_state_age_seconds 3.5\n"));
    }
}
