//! Which of the replicas writes.
//!
//! One `coordination.k8s.io/v1` Lease, held by at most one process, read and written as client-go
//! does it, so that other tools understand it. [`run`] campaigns for it and keeps a piece of work
//! alive exactly while this process holds it:
//!
//! ```text
//! campaign ── acquired ──> lead(Leadership) ── lost, or not proven in time ──> (dropped) campaign
//!                                  └─ shutdown: told to stop, given a grace ──> release, end
//! ```
//!
//! Two things keep a leader that is late from doing harm. [`Leadership::check`] looks at a
//! monotonic clock, so a process that was paused for longer than the renew deadline refuses to
//! write the moment it runs again. And every write of truth carries a resourceVersion, so one that
//! was already under way is refused by the API server.
//!
//! A Lease at an earlier resourceVersion than before means that the cluster was restored from a backup. Nothing promises
//! that a watch taken up from a later revision notices that. [`run`] then ends with [`Error::WentBack`], and its caller has
//! to forget everything that was read before.
//!
//! Losing the Lease never ends the process: while the API server is down the process waits as a
//! candidate.

mod config;
mod evaluate;
mod leadership;
mod lease;
mod record;

use std::future::{self, Future};
use std::pin::pin;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tracing::{debug, info, warn};

pub use config::{Config, InvalidConfig};
pub use leadership::{Leadership, LeadershipLost};
pub use lease::WentBack;

use lease::{Campaign, Elector, Renewal};

/// Why [`run`] gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself.
    #[error("the configuration of leader election")]
    Config(#[source] InvalidConfig),
    /// The cluster was restored from a backup.
    #[error(transparent)]
    WentBack(WentBack),
}

/// How a leadership ended.
enum End<T> {
    /// Somebody else holds the Lease, or it could not be renewed in time.
    Lost,
    /// The work ended by itself.
    Done(T),
    /// The process shall end.
    Shutdown,
    /// The cluster was restored from a backup.
    WentBack(WentBack),
}

/// Campaigns for the Lease until `shutdown` resolves, and runs `lead` whenever this process holds
/// it.
///
/// The future that `lead` returns is polled on the same task as the renewal and dropped as soon as
/// the Lease is lost or cannot be proven to be held any more; `lead` is called again with the next
/// leadership. Whatever it spawns must end with it (a `JoinSet`, not a bare `tokio::spawn`).
///
/// When `shutdown` resolves, [`Leadership::stopping`] tells the future, which then has
/// [`Config::shutdown_grace`] to end; after that the Lease is released, so that the other replica
/// need not wait for it to expire.
///
/// Returns what the future returned if it ended by itself or in the grace, and `None` if the
/// process was a candidate or the grace ran out.
///
/// # Errors
/// If the configuration contradicts itself, or the cluster was restored from a backup. Errors of the API server are
/// logged and retried.
pub async fn run<F, Fut, S>(
    config: Config,
    client: Client,
    shutdown: S,
    lead: F,
) -> Result<Option<Fut::Output>, Error>
where
    F: FnMut(Leadership) -> Fut,
    Fut: Future,
    S: Future<Output = ()>,
{
    run_after(config, client, shutdown, |_| future::ready(Ok(())), lead).await
}

/// The same; but before a Lease is taken, or taken up again, `before` is told when it was last renewed, by the clock of whoever did (`None`: there is
/// no Lease, or it does not say). What it finds out of an old Lease must be written down before the first renewal hides it.
/// While it fails, the Lease is not taken.
///
/// # Errors
/// As [`run`].
pub async fn run_after<B, Ready, F, Fut, S>(
    config: Config,
    client: Client,
    shutdown: S,
    mut before: B,
    mut lead: F,
) -> Result<Option<Fut::Output>, Error>
where
    B: FnMut(Option<Timestamp>) -> Ready,
    Ready: Future<Output = Result<(), String>>,
    F: FnMut(Leadership) -> Fut,
    Fut: Future,
    S: Future<Output = ()>,
{
    config.validate().map_err(Error::Config)?;
    let mut elector = Elector::new(config.clone(), client);
    let mut shutdown = pin!(shutdown);
    loop {
        let leadership = tokio::select! {
            biased;
            () = &mut shutdown => {
                // A request to acquire may have succeeded without our hearing of it.
                elector.release().await;
                return Ok(None);
            }
            leadership = campaign(&mut elector, &mut before, &config) => leadership.map_err(Error::WentBack)?,
        };
        let mut work = Box::pin(lead(leadership.clone()));
        let mut end = tokio::select! {
            biased;
            end = hold(&mut elector, &leadership, &config) => end,
            () = &mut shutdown => End::Shutdown,
            output = &mut work => End::Done(output),
        };
        let stopping = matches!(end, End::Shutdown);
        if stopping {
            leadership.stop();
            end = tokio::select! {
                biased;
                end = hold(&mut elector, &leadership, &config) => end,
                output = &mut work => End::Done(output),
                () = sleep(config.shutdown_grace) => End::Shutdown,
            };
        }
        leadership.revoke();
        drop(work);
        let output = match end {
            End::Lost if !stopping => continue,
            End::WentBack(went_back) => return Err(Error::WentBack(went_back)),
            End::Done(output) => Some(output),
            End::Lost => None,
            End::Shutdown => {
                warn!(grace = ?config.shutdown_grace, "the leader's work did not end in its grace");
                None
            }
        };
        elector.release().await;
        return Ok(output);
    }
}

/// Ends when this process holds the Lease.
async fn campaign<B, Ready>(
    elector: &mut Elector,
    before: &mut B,
    config: &Config,
) -> Result<Leadership, WentBack>
where
    B: FnMut(Option<Timestamp>) -> Ready,
    Ready: Future<Output = Result<(), String>>,
{
    let mut rival = None;
    let mut failing = false;
    loop {
        let pause = match elector.campaign(before).await {
            Ok(Campaign::Won { sent }) => {
                let leadership = Leadership::granted(sent, config.renew_deadline);
                // The answer may have come too late to be of use.
                if leadership.check().is_ok() {
                    info!(lease = %config.lease(), identity = %config.identity, "leading");
                    return Ok(leadership);
                }
                config.jittered_retry_period()
            }
            Ok(Campaign::Wait {
                holder,
                retry_after,
            }) => {
                failing = false;
                if rival.as_ref() != Some(&holder) {
                    info!(lease = %config.lease(), %holder, "waiting as a candidate");
                    rival = Some(holder);
                }
                retry_after.min(config.jittered_retry_period())
            }
            Err(lease::Error::WentBack(went_back)) => return Err(went_back),
            Err(error) => {
                report(&error, &mut failing, "cannot acquire the lease");
                config.jittered_retry_period()
            }
        };
        sleep(pause).await;
    }
}

/// Renews the Lease; ends when it is lost, cannot be proven to be held any more, or went back.
async fn hold<T>(elector: &mut Elector, leadership: &Leadership, config: &Config) -> End<T> {
    let mut failing = false;
    loop {
        let deadline = Instant::from_std(leadership.valid_until());
        let next = Instant::now() + config.jittered_retry_period();
        sleep_until(next.min(deadline)).await;
        // Before the renewal: a process that was paused past the deadline must not find its Lease
        // unclaimed, renew it and carry on, since `check` already told its work otherwise.
        if leadership.check().is_err() {
            warn!(lease = %config.lease(), "not renewed in time, leading no longer");
            return End::Lost;
        }
        match timeout_at(deadline, elector.renew()).await {
            Ok(Ok(Renewal::Renewed { sent })) => {
                if failing {
                    info!(lease = %config.lease(), "renewed again");
                    failing = false;
                }
                if leadership.extend(sent, config.renew_deadline).is_err() {
                    return End::Lost;
                }
            }
            Ok(Ok(Renewal::Lost { holder })) => {
                warn!(lease = %config.lease(), %holder, "leading no longer");
                return End::Lost;
            }
            Ok(Err(lease::Error::WentBack(went_back))) => return End::WentBack(went_back),
            Ok(Err(error)) => report(&error, &mut failing, "cannot renew the lease"),
            // The next turn says so.
            Err(_) => {}
        }
    }
}

/// Warns of the first error in a row; an outage is not a line every retry period.
fn report(error: &lease::Error, failing: &mut bool, what: &str) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    if *failing {
        debug!(%error, source, "{what}");
    } else {
        warn!(%error, source, "{what}");
        *failing = true;
    }
}
