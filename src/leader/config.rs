//! Which Lease, under which name, and how long everything may take.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// What an election needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Name of this process, unique among all candidates (the pod's name).
    pub identity: String,
    /// How long a candidate waits after the last renewal that it saw, before it takes the Lease.
    /// The Lease says it in whole seconds, rounded up.
    pub lease_duration: Duration,
    /// How long the leader goes on without a successful renewal. Shorter than the lease duration:
    /// the difference is the time in which nobody writes.
    pub renew_deadline: Duration,
    /// Pause between two renewals of the leader, and between two looks of a candidate.
    pub retry_period: Duration,
    /// How long the leader's work may take to end on shutdown.
    pub shutdown_grace: Duration,
}

/// A configuration under which an election cannot be correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    /// Namespace, name or identity is empty. An empty holder means a released Lease.
    #[error("namespace, name and identity of the leader election must not be empty")]
    Empty,
    /// A candidate could take over while the leader still believes that it leads.
    #[error("the lease duration must be longer than the renew deadline")]
    LeaseDuration,
    /// One late renewal would already end the leadership.
    #[error("the renew deadline must be longer than the retry period")]
    RenewDeadline,
    /// The candidate would ask without a pause.
    #[error("the retry period must not be zero")]
    RetryPeriod,
}

impl Config {
    /// The durations of client-go's controllers: 15 s, 10 s and 2 s, and 10 s to stop.
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
            shutdown_grace: Duration::from_secs(10),
        }
    }

    pub(super) fn validate(&self) -> Result<(), InvalidConfig> {
        if self.namespace.is_empty() || self.name.is_empty() || self.identity.is_empty() {
            return Err(InvalidConfig::Empty);
        }
        if self.retry_period.is_zero() {
            return Err(InvalidConfig::RetryPeriod);
        }
        if self.renew_deadline <= self.retry_period {
            return Err(InvalidConfig::RenewDeadline);
        }
        if self.lease_duration <= self.renew_deadline {
            return Err(InvalidConfig::LeaseDuration);
        }
        Ok(())
    }

    /// How long one request may take: the leader gets a second try before its deadline. The client
    /// itself would retry an overloaded API server for minutes.
    pub(super) fn request_timeout(&self) -> Duration {
        self.renew_deadline / 2
    }

    /// The lease duration as the Lease says it.
    pub(super) fn lease_duration_seconds(&self) -> i32 {
        let seconds = self.lease_duration.as_millis().div_ceil(1000);
        i32::try_from(seconds).unwrap_or(i32::MAX)
    }

    /// The retry period less up to a fifth, so that replicas that started together do not stay in
    /// step. Never more, so that a released Lease is taken within one period.
    pub(super) fn jittered_retry_period(&self) -> Duration {
        // Without randomness there is no jitter, and the election is as correct.
        let random = getrandom::u32().unwrap_or_default();
        self.retry_period
            .mul_f64(1.0 - 0.2 * f64::from(random) / f64::from(u32::MAX))
    }

    pub(super) fn lease(&self) -> LeaseName<'_> {
        LeaseName(self)
    }
}

/// `namespace/name`, for log lines.
pub(super) struct LeaseName<'a>(&'a Config);

impl fmt::Display for LeaseName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.namespace, self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: impl FnOnce(&mut Config)) -> Result<(), InvalidConfig> {
        let mut config = Config::new("ns", "lease", "me");
        change(&mut config);
        config.validate()
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(changed(|_| ()), Ok(()));
        assert_eq!(changed(|c| c.identity.clear()), Err(InvalidConfig::Empty));
        assert_eq!(
            changed(|c| c.lease_duration = c.renew_deadline),
            Err(InvalidConfig::LeaseDuration)
        );
        assert_eq!(
            changed(|c| c.renew_deadline = c.retry_period),
            Err(InvalidConfig::RenewDeadline)
        );
        assert_eq!(
            changed(|c| c.retry_period = Duration::ZERO),
            Err(InvalidConfig::RetryPeriod)
        );
    }

    #[test]
    fn jitter_only_shortens_and_by_at_most_a_fifth() {
        let config = Config::new("ns", "lease", "me");
        for _ in 0..200 {
            let pause = config.jittered_retry_period();
            assert!(pause <= config.retry_period, "{pause:?}");
            assert!(pause >= config.retry_period.mul_f64(0.799), "{pause:?}");
        }
    }

    #[test]
    fn the_lease_duration_is_rounded_up_to_seconds() {
        let mut config = Config::new("ns", "lease", "me");
        config.lease_duration = Duration::from_millis(1001);
        assert_eq!(config.lease_duration_seconds(), 2);
    }
}
