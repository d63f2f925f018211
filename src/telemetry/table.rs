//! What is shown of each object of a kind. The only metrics whose labels are names that users chose: their number is bounded, and
//! names are no secret.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Most objects of a kind that are shown. A scrape of a thousand has some four thousand lines.
pub(super) const MAX_SHOWN: usize = 1000;

/// What is shown of one object.
pub(super) trait Facts: Debug + Send + Sync + 'static {
    /// What names it. Not `namespace`: scraping puts that of the operator there, and would rename ours.
    type Labels: EncodeLabelSet;
    /// What decides who is shown when there are too many: the smallest first.
    type Urgency: Ord;

    /// What is shown of it, if there is something.
    const GAUGES: &'static [Shows<Self>];
    /// Name and help of the metric that counts who is not shown.
    const OMITTED: (&'static str, &'static str);

    /// What names this one.
    fn labels(&self) -> Self::Labels;

    /// How much this one has to be shown.
    fn urgency(&self) -> Self::Urgency;
}

/// A gauge of each object.
pub(super) struct Shows<F: ?Sized> {
    /// Its name, without the unit.
    name: &'static str,
    help: &'static str,
    unit: Option<Unit>,
    /// Its value, if this object has one.
    value: fn(&F) -> Option<i64>,
}

impl<F: ?Sized> Shows<F> {
    /// A time, in seconds since 1970.
    pub(super) const fn time(
        name: &'static str,
        help: &'static str,
        value: fn(&F) -> Option<i64>,
    ) -> Self {
        let unit = Some(Unit::Seconds);
        Self {
            name,
            help,
            unit,
            value,
        }
    }

    /// A number of things.
    pub(super) const fn count(
        name: &'static str,
        help: &'static str,
        value: fn(&F) -> Option<i64>,
    ) -> Self {
        Self {
            name,
            help,
            unit: None,
            value,
        }
    }
}

/// The objects that are shown. Clones are handles of the same.
#[derive(Debug)]
pub(super) struct Table<F>(Arc<Mutex<Shown<F>>>);

#[derive(Debug)]
pub(super) struct Shown<F> {
    pub(super) rows: Vec<F>,
    pub(super) omitted: usize,
}

impl<F> Clone for Table<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<F> Default for Table<F> {
    fn default() -> Self {
        let (rows, omitted) = (Vec::new(), 0);
        Self(Arc::new(Mutex::new(Shown { rows, omitted })))
    }
}

impl<F: Facts> Table<F> {
    /// Shows these in place of those before; of too many, the most urgent.
    pub(super) fn show(&self, mut rows: Vec<F>) {
        let omitted = rows.len().saturating_sub(MAX_SHOWN);
        if omitted > 0 {
            rows.sort_by_key(Facts::urgency);
            rows.truncate(MAX_SHOWN);
        }
        *self.shown() = Shown { rows, omitted };
    }

    pub(super) fn shown(&self) -> MutexGuard<'_, Shown<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Facts> Collector for Table<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let shown = self.shown();
        for gauge in F::GAUGES {
            let mut family = encoder.encode_descriptor(
                gauge.name,
                gauge.help,
                gauge.unit.as_ref(),
                MetricType::Gauge,
            )?;
            for row in &shown.rows {
                if let Some(value) = (gauge.value)(row) {
                    ConstGauge::new(value).encode(family.encode_family(&row.labels())?)?;
                }
            }
        }
        let (name, help) = F::OMITTED;
        let omitted = ConstGauge::new(i64::try_from(shown.omitted).unwrap_or(i64::MAX));
        omitted.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
    }
}
