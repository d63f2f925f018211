//! The Lease in the API server: reads, and writes that the API server refuses when the Lease has
//! changed meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tokio::time::timeout;
use tracing::{info, warn};

use super::Config;
use super::evaluate::{Candidate, Decision, History, Observed, evaluate};
use super::record;
use crate::api::names::FIELD_MANAGER;
use crate::clock::{Clock, process_clock};

/// What was asked of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Create,
    Replace,
}

/// A request about the Lease failed.
#[derive(Debug, Error)]
pub(super) enum Error {
    /// No answer came in time. A write may have happened nevertheless.
    #[error("no answer to the lease request ({verb:?}) in time")]
    Timeout { verb: Verb },
    /// The request failed.
    #[error("the lease request ({verb:?}) failed")]
    Request {
        verb: Verb,
        #[source]
        source: Box<kube::Error>,
    },
    /// The Lease is older than it was.
    #[error(transparent)]
    WentBack(WentBack),
    /// What must be done before leading was not done.
    #[error("not ready to lead: {0}")]
    NotYet(String),
}

/// The Lease is at an earlier resourceVersion than one that was seen before: the cluster's store was put back to an
/// earlier state, and nothing that was remembered of it need be true any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "resource versions went back from {before} to {now}: the cluster was restored from a backup"
)]
pub struct WentBack {
    /// The Lease's resourceVersion as last seen.
    pub before: u64,
    /// Its resourceVersion now.
    pub now: u64,
}

impl Error {
    /// Whether the Lease is not as we last saw it: a look at it tells more.
    fn is_outdated(&self) -> bool {
        match self {
            Self::Timeout { .. } | Self::WentBack(_) | Self::NotYet(_) => false,
            Self::Request { source, .. } => match &**source {
                kube::Error::Api(status) => {
                    status.is_conflict() || status.is_already_exists() || status.is_not_found()
                }
                _ => false,
            },
        }
    }
}

/// How an attempt to take the Lease ended.
#[derive(Debug)]
pub(super) enum Campaign {
    /// It is ours, by a request that was sent at this instant.
    Won { sent: Instant },
    /// It is another's.
    Wait {
        holder: String,
        retry_after: Duration,
    },
}

/// How an attempt to renew the Lease ended.
#[derive(Debug)]
pub(super) enum Renewal {
    /// It is renewed, by a request that was sent at this instant.
    Renewed { sent: Instant },
    /// It is another's now, or nobody's.
    Lost { holder: String },
}

/// What was last seen of the Lease.
struct Seen {
    lease: Lease,
    since: Duration,
    history: History,
}

/// This process and the Lease. Every method may be dropped half-way: what a request did without
/// our hearing of it is found out by the next one, which then conflicts and looks.
pub(super) struct Elector {
    api: Api<Lease>,
    config: Config,
    origin: Instant,
    seen: Option<Seen>,
    /// Whether the Lease was ever looked at, be it that there was none.
    looked: bool,
    /// See [`Candidate::tenure`]. Set before the first request that carries it is sent.
    tenure: Option<Timestamp>,
    /// What is written into the Lease. Nobody's leadership is judged by it.
    clock: Arc<dyn Clock>,
}

impl Elector {
    pub(super) fn new(config: Config, client: Client) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        Self {
            api,
            config,
            origin: Instant::now(),
            seen: None,
            looked: false,
            tenure: None,
            clock: process_clock(),
        }
    }

    /// Looks at the Lease and takes it if it is free, or takes it up again if it is ours. Before each attempt `before` is told
    /// when it was last renewed, since any write hides that; unless `before` succeeds, the Lease is left alone.
    pub(super) async fn campaign<F, Fut>(&mut self, before: &mut F) -> Result<Campaign, Error>
    where
        F: FnMut(Option<Timestamp>) -> Fut,
        Fut: Future<Output = Result<(), String>>,
    {
        self.look().await?;
        match self.decide() {
            // Ours: an attempt whose answer was lost, or a leadership that could not be renewed in time. Either may be long ago.
            Decision::Acquire | Decision::Renew => {
                before(self.renewed()).await.map_err(Error::NotYet)?;
                // An attempt whose answer was lost may still succeed, so a further attempt
                // carries the same tenure.
                self.tenure
                    .get_or_insert_with(|| record::microseconds(self.clock.now()));
            }
            Decision::Wait {
                holder,
                retry_after,
            } => {
                // Another has written since our last attempt, which therefore can only conflict.
                self.tenure = None;
                return Ok(Campaign::Wait {
                    holder,
                    retry_after,
                });
            }
        }
        match self.write().await {
            Ok(sent) => Ok(Campaign::Won { sent }),
            // Another was faster.
            Err(error) if error.is_outdated() => {
                let holder = "another candidate".to_owned();
                Ok(Campaign::Wait {
                    holder,
                    retry_after: self.config.retry_period,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Renews the Lease that this process holds: one write, and a look only if that conflicts.
    pub(super) async fn renew(&mut self) -> Result<Renewal, Error> {
        match self.write().await {
            Ok(sent) => return Ok(Renewal::Renewed { sent }),
            Err(error) if error.is_outdated() => self.look().await?,
            Err(error) => return Err(error),
        }
        // Somebody labelled it, or an earlier renewal had succeeded without our hearing of it, or
        // it is another's. A Lease that was deleted or released by hand is lost too: the next
        // campaign takes it.
        match self.decide() {
            Decision::Renew => self.write().await.map(|sent| Renewal::Renewed { sent }),
            Decision::Acquire | Decision::Wait { .. } => {
                self.tenure = None;
                Ok(Renewal::Lost {
                    holder: self.holder(),
                })
            }
        }
    }

    /// Gives the Lease back if it is ours. Failure only means that the next leader has to wait.
    pub(super) async fn release(&mut self) {
        if self.tenure.is_none() {
            return;
        }
        let released = match self.try_release().await {
            Err(error) if error.is_outdated() => match self.look().await {
                Ok(()) => self.try_release().await,
                Err(error) => Err(error),
            },
            result => result,
        };
        match released {
            Ok(()) => info!(lease = %self.config.lease(), "not leading, the lease is free"),
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, source, "cannot release the lease, it will expire");
            }
        }
        self.tenure = None;
    }

    async fn try_release(&mut self) -> Result<(), Error> {
        if self.decide() != Decision::Renew {
            // After a lost answer the Lease may be ours although we have not seen it so.
            self.look().await?;
        }
        if self.decide() != Decision::Renew {
            return Ok(());
        }
        let Some(seen) = &self.seen else {
            return Ok(());
        };
        let current = seen.lease.spec.clone().unwrap_or_default();
        let spec = record::released(&current, self.clock.now());
        let lease = Lease {
            metadata: seen.lease.metadata.clone(),
            spec: Some(spec),
        };
        self.replace(&lease).await.map(drop)
    }

    fn decide(&self) -> Decision {
        let empty = LeaseSpec::default();
        let observed = self.seen.as_ref().map(|seen| Observed {
            spec: seen.lease.spec.as_ref().unwrap_or(&empty),
            since: seen.since,
            history: seen.history,
        });
        let candidate = Candidate {
            identity: &self.config.identity,
            tenure: self.tenure,
        };
        evaluate(
            observed.as_ref(),
            candidate,
            self.origin.elapsed(),
            &self.config,
        )
    }

    /// When the Lease was last renewed, by the clock of whoever did.
    fn renewed(&self) -> Option<Timestamp> {
        let spec = self.seen.as_ref()?.lease.spec.as_ref()?;
        spec.renew_time.as_ref().map(|time| time.0)
    }

    fn holder(&self) -> String {
        let spec = self.seen.as_ref().and_then(|seen| seen.lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default()
    }

    /// Reads the Lease.
    async fn look(&mut self) -> Result<(), Error> {
        let lease = self
            .request(Verb::Get, self.api.get_opt(&self.config.name))
            .await?;
        self.note(lease)
    }

    /// Remembers what the Lease says, and since when. Compared is what it says, not its
    /// resourceVersion: a label is no sign of life of the holder.
    ///
    /// A Lease that is older than the one before is not remembered: a restored cluster must be noticed by every
    /// look, until whoever called begins anew.
    fn note(&mut self, lease: Option<Lease>) -> Result<(), Error> {
        if let (Some(seen), Some(lease)) = (&self.seen, &lease) {
            not_went_back(&seen.lease, lease)?;
        }
        self.seen = lease.map(|lease| match &self.seen {
            Some(seen) if seen.lease.spec == lease.spec => Seen {
                lease,
                since: seen.since,
                history: seen.history,
            },
            _ => Seen {
                lease,
                since: self.origin.elapsed(),
                history: if self.looked {
                    History::Changed
                } else {
                    History::Unchanged
                },
            },
        });
        self.looked = true;
        Ok(())
    }

    /// Writes the Lease as ours. Returns when the request was sent.
    async fn write(&mut self) -> Result<Instant, Error> {
        let now = self.clock.now();
        let current = self.seen.as_ref().and_then(|seen| seen.lease.spec.as_ref());
        let tenure = self.tenure.unwrap_or_else(|| record::microseconds(now));
        let spec = record::acquired(current, &self.config, tenure, now);
        let sent = Instant::now();
        let written = if let Some(seen) = &self.seen {
            let metadata = seen.lease.metadata.clone();
            self.replace(&Lease {
                metadata,
                spec: Some(spec),
            })
            .await?
        } else {
            let metadata = ObjectMeta {
                name: Some(self.config.name.clone()),
                namespace: Some(self.config.namespace.clone()),
                ..ObjectMeta::default()
            };
            self.create(&Lease {
                metadata,
                spec: Some(spec),
            })
            .await?
        };
        self.tenure = Some(tenure);
        self.note(Some(written))?;
        Ok(sent)
    }

    async fn create(&self, lease: &Lease) -> Result<Lease, Error> {
        let parameters = parameters();
        self.request(Verb::Create, self.api.create(&parameters, lease))
            .await
    }

    /// Replaces the Lease as it was last seen: its resourceVersion goes along.
    async fn replace(&self, lease: &Lease) -> Result<Lease, Error> {
        let parameters = parameters();
        let replace = self.api.replace(&self.config.name, &parameters, lease);
        self.request(Verb::Replace, replace).await
    }

    async fn request<T>(
        &self,
        verb: Verb,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        match timeout(self.config.request_timeout(), request).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(Error::Request {
                verb,
                source: Box::new(source),
            }),
            Err(_) => Err(Error::Timeout { verb }),
        }
    }
}

/// Kubernetes promises that the resourceVersions of one kind are decimal numbers that only grow.
fn not_went_back(before: &Lease, now: &Lease) -> Result<(), Error> {
    let version = |lease: &Lease| lease.metadata.resource_version.as_deref()?.parse().ok();
    match (version(before), version(now)) {
        (Some(before), Some(now)) if now < before => Err(Error::WentBack(WentBack { before, now })),
        _ => Ok(()),
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use kube::core::Status;

    use super::*;

    type Stored = Arc<Mutex<Option<Lease>>>;

    /// An API server that has one Lease, and takes every write of it.
    async fn server() -> (Client, Stored) {
        let stored = Stored::default();
        let one = get(async |State(stored): State<Stored>| {
            let missing = Status::failure("", "NotFound").with_code(404);
            let missing = || (StatusCode::NOT_FOUND, serde_json::to_vec(&missing).unwrap());
            let found = |lease: &Lease| (StatusCode::OK, serde_json::to_vec(lease).unwrap());
            stored.lock().unwrap().as_ref().map_or_else(missing, found)
        })
        .put(write);
        let leases = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";
        let router = Router::new()
            .route(leases, post(write))
            .route(&format!("{leases}/lease"), one)
            .with_state(stored.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config = kube::Config::new(format!("http://{address}").parse().unwrap());
        (Client::try_from(config).unwrap(), stored)
    }

    async fn write(State(stored): State<Stored>, body: Bytes) -> Bytes {
        *stored.lock().unwrap() = serde_json::from_slice(&body).unwrap();
        body
    }

    fn lease(resource_version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(resource_version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
        }
    }

    #[tokio::test]
    async fn a_lease_that_is_still_ours_is_not_taken_up_again_before_its_age_was_looked_at() {
        let (client, stored) = server().await;
        let mut elector = Elector::new(Config::new("ns", "lease", "me"), client);
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut before = |renewed: Option<Timestamp>| {
            told.lock().unwrap().push(renewed);
            std::future::ready(Ok(()))
        };
        let won = elector.campaign(&mut before).await.unwrap();
        assert!(matches!(won, Campaign::Won { .. }));
        // The leadership ends since the API server cannot be reached. Hours later it is back, and nobody took the Lease.
        let renewed: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        {
            let mut stored = stored.lock().unwrap();
            let spec = stored.as_mut().unwrap().spec.as_mut().unwrap();
            spec.renew_time = Some(MicroTime(renewed));
        }
        let won = elector.campaign(&mut before).await.unwrap();
        assert!(matches!(won, Campaign::Won { .. }));
        assert_eq!(*told.lock().unwrap(), [None, Some(renewed)]);
        // Whoever cannot find out does not lead.
        let mut unable = |_| std::future::ready(Err("not now".to_owned()));
        let refused = elector.campaign(&mut unable).await;
        assert!(matches!(refused, Err(Error::NotYet(_))));
    }

    #[test]
    fn versions_are_compared_as_numbers_and_only_going_back_is_an_error() {
        let error = |before, now| not_went_back(&lease(before), &lease(now)).err();
        assert!(error("99", "100").is_none());
        assert!(error("100", "100").is_none());
        assert!(error("100", "opaque").is_none());
        let went_back = WentBack {
            before: 100,
            now: 99,
        };
        assert!(matches!(error("100", "99"), Some(Error::WentBack(seen)) if seen == went_back));
    }
}
