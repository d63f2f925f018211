//! Follows objects of the API server and proves that nothing of them was missed.
//!
//! A watch alone is not enough: a connection that went silent is noticed only when the watch's time is over, and a
//! quiet watch names no state. So watches are short, and before each one the API server is asked for its newest state by
//! a list without a resource version, which no cache answers with an older one (Kubernetes API concepts, "Semantics for
//! get and list"). The watch then brings the changes up to that state, and shortly before its end a bookmark that names
//! it. An API server that sends none has everything read anew instead.

use std::collections::HashSet;
use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use futures::{StreamExt, pin_mut};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::calling::within;
use crate::proof::Proof;
use crate::telling::describe;

/// How long one watch lasts, in seconds. The API server sends the bookmark two seconds before its end, so that a proof
/// is at most about seven seconds old when the next one comes.
const WATCH_SECONDS: u32 = 4;
/// How long after that a watch that has not ended counts as broken.
const WATCH_GRACE: Duration = Duration::from_secs(2);
/// How long a watch takes that ended by itself. Where one did not, or this process was stopped meanwhile, the cluster may
/// have been put back to an earlier state and gone on from there: then changes are missing although the numbers go on.
const WHOLE_WATCH: RangeInclusive<Duration> = RangeInclusive::new(
    Duration::from_millis(WATCH_SECONDS as u64 * 1000 - 500),
    Duration::from_millis(WATCH_SECONDS as u64 * 1000).saturating_add(WATCH_GRACE),
);
/// How long the answer to a question, or to one page of a list, may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// A proof older than this has everything read anew.
const READ_ANEW_AFTER: Duration = Duration::from_secs(8);
/// Pause after a failure, so that an API server that is coming back is not worn out.
const PAUSE: Duration = Duration::from_secs(1);
/// Objects a page.
const PAGE: u32 = 500;

/// Why the truth could not be followed. Nothing in it quotes what was read.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}: no answer in time")]
    Silent(&'static str),
    #[error("{what}: {}", describe(error))]
    Refused {
        what: &'static str,
        error: kube::Error,
    },
    #[error("the API server named no state")]
    NoRevision,
    #[error("the API server is at an earlier state than before")]
    WentBack,
    #[error("the watch ended: {0}")]
    Ended(String),
}

/// What is kept of the objects that are followed.
pub(super) trait Kept {
    /// The objects, as they are read.
    type Object: Resource + Clone + DeserializeOwned + Debug + Send + 'static;

    /// What messages call them.
    fn what(&self) -> &'static str;

    /// What is proven of what is kept.
    fn proof(&self) -> &Proof;

    /// Keeps what is to be kept of an object, in the place of what was kept of it before.
    async fn put(&self, object: Self::Object);

    /// Keeps nothing of the object of that name any more.
    fn remove(&self, name: &str);

    /// Keeps nothing of any other object.
    fn remove_all_but(&self, names: &HashSet<String>);

    /// Is told of each change that is applied and counted.
    fn changed(&self) {}

    /// Is asked between two watches.
    async fn look_after(&mut self) {}
}

/// Follows objects.
pub(super) struct Follower<K: Kept> {
    api: Api<K::Object>,
    fields: Option<String>,
    kept: K,
}

impl<K: Kept> Follower<K> {
    /// Follows all objects of a kind, and has what is to be kept of them kept.
    pub(super) fn new(api: Api<K::Object>, kept: K) -> Self {
        Self {
            api,
            fields: None,
            kept,
        }
    }

    /// Follows only those that the selector of fields selects.
    pub(super) fn fields(mut self, selector: String) -> Self {
        self.fields = Some(selector);
        self
    }

    /// Runs until the API server is at an earlier state than before: the cluster was restored from a backup.
    pub(super) async fn run(mut self) {
        let what = self.kept.what();
        let mut broken = false;
        loop {
            let followed = match self.read_anew().await {
                Ok(()) => {
                    if broken {
                        info!("{what}: followed again");
                    }
                    broken = false;
                    self.follow().await
                }
                Err(error) => Err(error),
            };
            let error = match followed {
                Ok(()) => continue,
                Err(Broken::WentBack) => return,
                Err(error) => error,
            };
            if !broken {
                warn!(%error, "{what}: cannot be followed; trying again");
            }
            broken = true;
            sleep(PAUSE).await;
        }
    }

    /// Reads everything, page by page. All pages are of the state of the first one.
    async fn read_anew(&self) -> Result<(), Broken> {
        let sent = Instant::now();
        let mut listed = HashSet::new();
        let mut params = ListParams::default().limit(PAGE);
        params.field_selector.clone_from(&self.fields);
        let revision = loop {
            let page = answered("list", self.api.list(&params)).await?;
            for one in page.items {
                listed.insert(one.name_any());
                self.kept.put(one).await;
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params.continue_token = Some(token),
                None => break number(page.metadata.resource_version.as_deref())?,
            }
        };
        if revision < self.kept.proof().revision() {
            return Err(Broken::WentBack);
        }
        self.kept.remove_all_but(&listed);
        self.kept.proof().replaced(sent, revision);
        Ok(())
    }

    /// Follows until everything has to be read anew.
    async fn follow(&mut self) -> Result<(), Broken> {
        loop {
            self.kept.look_after().await;
            self.ask().await?;
            let started = Instant::now();
            self.watch().await?;
            let age = self.kept.proof().age(Instant::now());
            if !WHOLE_WATCH.contains(&started.elapsed())
                || age.is_none_or(|age| age > READ_ANEW_AFTER)
            {
                return Ok(());
            }
        }
    }

    /// Asks for the newest state.
    async fn ask(&self) -> Result<(), Broken> {
        let sent = Instant::now();
        let params = ListParams::default().limit(1);
        let answer = answered("ask for the newest state", self.api.list_metadata(&params)).await?;
        let revision = number(answer.metadata.resource_version.as_deref())?;
        if revision < self.kept.proof().revision() {
            return Err(Broken::WentBack);
        }
        self.kept.proof().asked(sent, revision);
        Ok(())
    }

    /// One short watch from the state that is applied.
    async fn watch(&self) -> Result<(), Broken> {
        let mut params = WatchParams::default().timeout(WATCH_SECONDS);
        params.field_selector.clone_from(&self.fields);
        let from = self.kept.proof().revision().to_string();
        let events = answered("watch", self.api.watch(&params, &from)).await?;
        pin_mut!(events);
        let all = async {
            while let Some(event) = events.next().await {
                self.apply(event.map_err(refused("watch"))?).await?;
            }
            Ok(())
        };
        let longest = Duration::from_secs(WATCH_SECONDS.into()) + WATCH_GRACE;
        let ended = timeout(longest, all).await;
        ended.unwrap_or(Err(Broken::Silent("watch")))
    }

    async fn apply(&self, event: WatchEvent<K::Object>) -> Result<(), Broken> {
        let revision = match event {
            WatchEvent::Added(one) | WatchEvent::Modified(one) => {
                let revision = number(one.resource_version().as_deref())?;
                self.kept.put(one).await;
                revision
            }
            WatchEvent::Deleted(one) => {
                let revision = number(one.resource_version().as_deref())?;
                self.kept.remove(&one.name_any());
                revision
            }
            WatchEvent::Bookmark(bookmark) => {
                let revision = number(Some(&bookmark.metadata.resource_version))?;
                self.kept.proof().applied(revision);
                return Ok(());
            }
            WatchEvent::Error(status) => {
                let told = format!("{} ({})", status.reason, status.code);
                return Err(Broken::Ended(told));
            }
        };
        self.kept.proof().applied(revision);
        self.kept.changed();
        Ok(())
    }
}

async fn answered<T>(
    what: &'static str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Broken> {
    within(PATIENCE, request).await.map_err(refused(what))
}

fn refused(what: &'static str) -> impl Fn(kube::Error) -> Broken {
    move |error| Broken::Refused { what, error }
}

/// A resource version as the number that it is (KEP-5504: Comparable Resource Version).
fn number(revision: Option<&str>) -> Result<u64, Broken> {
    let number = revision.and_then(|revision| revision.parse().ok());
    number.ok_or(Broken::NoRevision)
}
