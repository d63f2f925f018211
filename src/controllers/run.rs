//! What every controller does with the end of a reconcile.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::{Stream, StreamExt, future};
use kube::Resource;
use kube::runtime::controller::{self, Action};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use tracing::warn;

use super::backoff::Failures;
use super::context::jitter;
use super::error::Error;
use crate::telling::describe_watch;

type Outcome<K> = Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>;

/// Runs a controller to its end, saying when its watch broke.
pub(super) async fn drive<K>(reconciled: impl Stream<Item = Outcome<K>>)
where
    K: Resource<DynamicType = ()>,
{
    reconciled
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = result {
                tell_broken::<K>(&error);
            }
            future::ready(())
        })
        .await;
}

/// Says that the watch of a kind broke.
pub(super) fn tell_broken<K: Resource<DynamicType = ()>>(error: &watcher::Error) {
    let (kind, error) = (K::kind(&()), describe_watch(error));
    warn!(%kind, error, "a watch broke; it is taken up again");
}

/// When to try again to reconcile an object, after one more failure.
pub(super) fn retry<K>(object: &Arc<K>, error: &Error, failures: &Failures<ObjectRef<K>>) -> Action
where
    K: Resource<DynamicType = ()> + Clone + Debug,
    ObjectRef<K>: Eq + Hash,
{
    let object = ObjectRef::from_obj(&**object);
    if error.is_logged(failures.count(&object)) {
        warn!(%object, %error, "not reconciled; it is tried again");
    }
    Action::requeue(failures.delay(object, error.class(), jitter()))
}
