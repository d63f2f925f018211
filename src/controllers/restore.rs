//! A suspected restore: what a candidate looks for before it leads, and what the leader says while nothing is rotated or
//! destroyed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::EventType;
use tracing::{info, warn};

use super::backoff::Failures;
use super::context::{Context, jitter};
use super::error::{Error, call};
use crate::api::Reason;
use crate::api::names::{ANNOTATION_RESTORE_CHECKED, INSTALLATION};
use crate::clock::{Clock, Clocks};
use crate::installation::{
    self, Changed, Record, RecordError, Records, RestoreHold, Suspicion, suspect, suspicion,
};
use crate::truth::{KeyMaterials, SealedSecrets};

/// How often it is looked whether the hold is over.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long to wait before the record is read again that nothing can be decided without.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What is looked at before a replica leads.
#[derive(Clone)]
pub struct Precaution {
    /// The installation's record.
    pub records: Records,
    /// The truth about keys.
    pub materials: KeyMaterials,
    /// The truth about secrets.
    pub sealed: SealedSecrets,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Precaution {
    /// Writes down whether a restore is suspected, given when a Lease was last renewed. To be done before the Lease is taken:
    /// a crash right after that must not hide what it said.
    ///
    /// # Errors
    /// In words, if that could not be found out or written.
    pub async fn before_leading(self, renewed: Option<Timestamp>) -> Result<(), String> {
        let text = |error: RecordError| error.to_string();
        let clocks = self.clocks().await.map_err(text)?;
        let has_truth = self.has_truth().await.map_err(|error| error.to_string())?;
        if let Some(cause) = suspicion(renewed, clocks.server, has_truth) {
            self.hold(cause, clocks).await.map_err(text)?;
        }
        Ok(())
    }

    /// Writes a suspicion down.
    ///
    /// # Errors
    /// Those of the record.
    pub async fn suspect(&self, cause: Suspicion) -> Result<(), RecordError> {
        let clocks = self.clocks().await?;
        self.hold(cause, clocks).await
    }

    async fn hold(&self, cause: Suspicion, clocks: Clocks) -> Result<(), RecordError> {
        let hold = suspect(&self.records, cause, clocks.later()).await?;
        warn!(%cause, until = %hold.until, "a restore is suspected; nothing is rotated or destroyed");
        Ok(())
    }

    async fn clocks(&self) -> Result<Clocks, RecordError> {
        self.records.clocks(&self.clock).await
    }

    async fn has_truth(&self) -> Result<bool, Error> {
        let keys = call("look for", "key material", self.materials.any());
        Ok(keys.await? || call("look for", "sealed secrets", self.sealed.any()).await?)
    }
}

/// Looks at the record before anything is decided; tries until that succeeds.
pub(super) async fn look_first(ctx: &Context) {
    loop {
        match ctx.records.get().await {
            Ok(record) => {
                ctx.installation.hold.set(&record);
                return;
            }
            Err(error) => {
                warn!(%error, "the installation's record cannot be read; it is tried again");
            }
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Says that a restore is suspected while it is, and takes the hold out of the record when it is over. For ever; the leader only.
pub(super) async fn run(ctx: Arc<Context>) {
    let mut changes = ctx.record_changes.clone();
    let (mut said, failures) = (None, Failures::default());
    loop {
        let looked = look(&ctx, &mut said).await;
        if let Err(error) = &looked {
            warn!(%error, "the hold after a restore could not be looked at; it is tried again");
        }
        let wait = wait(&looked, &failures, jitter());
        tokio::select! {
            () = tokio::time::sleep(ctx.clock.timer(wait.unwrap_or_default())), if wait.is_some() => {}
            // The sender lives as long as the process.
            Ok(()) = changes.changed() => {}
        }
    }
}

/// Whether a restore is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspected {
    Yes,
    No,
}

/// How long until the next look if nothing changes: for ever if there is no hold that could end.
fn wait(
    looked: &Result<Suspected, Error>,
    failures: &Failures<()>,
    jitter: u8,
) -> Option<Duration> {
    match looked {
        Err(error) => Some(failures.delay((), error.class(), jitter)),
        Ok(suspected) => {
            failures.reset(&());
            (*suspected == Suspected::Yes).then_some(LOOK_EVERY)
        }
    }
}

async fn look(ctx: &Context, said: &mut Option<RestoreHold>) -> Result<Suspected, Error> {
    let record = ctx.records.get().await.map_err(Error::Record)?;
    ctx.installation.hold.set(&record);
    let Some(stored) = &record.restore else {
        ctx.metrics.restore_suspected(false);
        *said = None;
        return Ok(Suspected::No);
    };
    // Both clocks must agree that it is over.
    let now = ctx.clocks().await?.earlier();
    if record.hold_at(now).is_none() {
        end(stored, ctx).await?;
        *said = None;
        return Ok(Suspected::No);
    }
    ctx.metrics.restore_suspected(true);
    if said.as_ref().map(|said| said.since) != Some(stored.since) {
        tell(EventType::Warning, describe(stored), ctx).await;
        *said = Some(stored.clone());
    }
    Ok(Suspected::Yes)
}

/// What is said of a hold, and how it is ended.
pub(super) fn describe(hold: &RestoreHold) -> String {
    format!(
        "the cluster may have been restored from a backup ({}): nothing is rotated or destroyed until {}. Whoever has looked \
         ends that sooner by the annotation {ANNOTATION_RESTORE_CHECKED}={} on ConfigMap {INSTALLATION} in the operator's namespace",
        hold.cause, hold.until, hold.since
    )
}

async fn end(stored: &RestoreHold, ctx: &Context) -> Result<(), Error> {
    ctx.check_leadership()?;
    let changed = ctx
        .records
        .change(|record: &mut Record| -> Result<bool, Infallible> {
            let same = record.restore.as_ref() == Some(stored);
            if same {
                record.restore = None;
            }
            Ok(same)
        });
    let Ok(changed) = changed.await.map_err(Error::Record)?;
    let (Changed::Written(record) | Changed::AsItWas(record)) = &changed;
    ctx.installation.hold.set(record);
    if let Changed::AsItWas(_) = changed {
        // Another suspicion came meanwhile. Its write wakes the next look.
        return Ok(());
    }
    ctx.metrics
        .truth_written(crate::telemetry::Truth::Installation);
    info!("keys are rotated and destroyed again");
    let note = "a restore is no longer suspected: keys are rotated and destroyed again".to_owned();
    tell(EventType::Normal, note, ctx).await;
    Ok(())
}

async fn tell(type_: EventType, note: String, ctx: &Context) {
    let object = installation::reference(&ctx.namespace);
    ctx.event(&object, type_, Reason::RestoreSuspected, note)
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_succeed_is_tried_again_ever_more_slowly_also_when_no_restore_was_suspected_before()
     {
        let (failures, middle) = (Failures::default(), 127);
        assert_eq!(wait(&Ok(Suspected::No), &failures, middle), None);
        let failed = Err(Error::Record(RecordError::Missing));
        let waits = [(); 4].map(|()| wait(&failed, &failures, middle).unwrap());
        assert!(waits.is_sorted() && waits[0] < waits[3], "{waits:?}");
        let held = wait(&Ok(Suspected::Yes), &failures, middle);
        assert_eq!(held, Some(LOOK_EVERY));
        assert_eq!(wait(&failed, &failures, middle), Some(waits[0]));
    }
}
