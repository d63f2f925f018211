//! Lets the files of running pods follow: whatever is due is made again, a few at a time.

use std::collections::HashSet;
use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::publish::Publisher;

/// Volumes that are made again at a time.
const AT_ONCE: usize = 8;

/// Makes files again when they are due, until `stop`; then ends what was begun.
pub(super) async fn run(publisher: Arc<Publisher>, stop: impl Future<Output = ()>) {
    let mut wanted = publisher.volumes.watch_wanted();
    let mut news = publisher.news.subscribe();
    let mut tasks: JoinSet<PathBuf> = JoinSet::new();
    let mut busy = HashSet::new();
    let mut stop = pin!(stop);
    loop {
        wanted.mark_unchanged();
        news.mark_unchanged();
        let next = begin(&publisher, &mut tasks, &mut busy);
        let next = async {
            match next {
                Some(next) => sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut stop => break,
            // Their senders live as long as the publisher.
            _ = wanted.changed() => {}
            _ = news.changed() => {}
            Some(done) = tasks.join_next() => match done {
                Ok(target) => { busy.remove(&target); }
                // One that was cut off cannot say whose it was. Beginning another too early only has it wait for its turn.
                Err(_) => busy.clear(),
            },
            () = next => {}
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Begins what is due, as far as there is room for it. Returns when to look again.
fn begin(
    publisher: &Arc<Publisher>,
    tasks: &mut JoinSet<PathBuf>,
    busy: &mut HashSet<PathBuf>,
) -> Option<Instant> {
    let now = Instant::now();
    let volumes = publisher.volumes.list();
    let due = volumes.into_iter().filter_map(|volume| {
        if busy.contains(&volume.target) {
            return None;
        }
        let due = publisher.told(|told| volume.due(told, now))?;
        Some((due, volume))
    });
    let mut due: Vec<_> = due.collect();
    due.sort_by_key(|(due, _)| *due);
    for (due, volume) in due {
        if due > now {
            return Some(due);
        }
        if tasks.len() >= AT_ONCE {
            // One of them ends, and then it is looked again.
            return None;
        }
        busy.insert(volume.target.clone());
        let publisher = Arc::clone(publisher);
        tasks.spawn(async move {
            publisher.update(&volume).await;
            volume.target.clone()
        });
    }
    None
}
