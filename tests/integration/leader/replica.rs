//! A candidate that tells what happens to it.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use keystead::leader::{self, Config, Leadership};
use kube::Client;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub(super) const NAMESPACE: &str = "default";
/// Longer than anything here takes on a busy machine: a test that hangs fails instead.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Short, but with the proportions of the real durations.
pub(super) fn config(name: &str, identity: &str) -> Config {
    Config {
        lease_duration: Duration::from_secs(4),
        renew_deadline: Duration::from_millis(2_500),
        retry_period: Duration::from_millis(400),
        shutdown_grace: Duration::from_millis(600),
        ..Config::new(NAMESPACE, name, identity)
    }
}

/// What a candidate's work tells of itself.
#[derive(Debug)]
enum Report {
    Leads(Leadership),
    Dropped,
}

/// Reports its end however it comes about.
struct Work(mpsc::UnboundedSender<Report>);

impl Drop for Work {
    fn drop(&mut self) {
        let _ = self.0.send(Report::Dropped);
    }
}

/// A replica on a task of its own.
pub(super) struct Replica {
    reports: mpsc::UnboundedReceiver<Report>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<Option<Infallible>, leader::Error>>,
}

impl Replica {
    /// A replica whose work never ends by itself, and does not care for being asked to.
    pub(super) fn start(config: Config, client: Client) -> Self {
        let (send, reports) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let lead = move |leadership| {
            let work = Work(send.clone());
            send.send(Report::Leads(leadership)).unwrap();
            async move {
                let _work = work;
                pending::<Infallible>().await
            }
        };
        let shutdown = async {
            // A replica whose handle is gone goes on.
            if stopped.await.is_err() {
                pending::<()>().await;
            }
        };
        Self {
            reports,
            stop,
            task: tokio::spawn(leader::run(config, client, shutdown, lead)),
        }
    }

    async fn report(&mut self) -> Report {
        timeout(PATIENCE, self.reports.recv())
            .await
            .expect("must report")
            .expect("must live")
    }

    pub(super) async fn leads(&mut self) -> Leadership {
        match self.report().await {
            Report::Leads(leadership) => leadership,
            Report::Dropped => panic!("the work was dropped"),
        }
    }

    pub(super) async fn dropped(&mut self) {
        assert!(matches!(self.report().await, Report::Dropped));
    }

    /// Whether it has not led in this time.
    pub(super) async fn is_quiet_for(&mut self, time: Duration) -> bool {
        timeout(time, self.reports.recv()).await.is_err()
    }

    /// Dies without a last word, as by SIGKILL.
    pub(super) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Ends in order, as by SIGTERM.
    pub(super) async fn stop(self) {
        self.stop.send(()).unwrap();
        let ended = timeout(PATIENCE, self.task)
            .await
            .expect("must end")
            .unwrap();
        assert!(matches!(ended, Ok(None)));
    }
}
