//! What the controller's and the server's processes have in common.

use anyhow::Context as _;
use kube::{Client, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;

/// A client of the cluster that the process runs in.
pub(super) async fn client() -> anyhow::Result<Client> {
    let mut config = Config::infer().await.context("no access to a cluster")?;
    // Our own waits are per object and end when something changes; the client's would hold up a whole reconcile.
    config.default_retry = false;
    Client::try_from(config).context("the client could not be made")
}

/// Resolves when the process is asked to stop.
pub(crate) fn stop_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("asked to stop");
        sender.send_replace(true);
    });
    Ok(receiver)
}

/// Resolves when it says that the process shall stop.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that the sender is gone, and the process with it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Makes sure that the two halves of the binary agree on one provider of TLS.
pub(crate) fn install_crypto_provider() {
    // An error only says that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
