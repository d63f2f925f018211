//! A way to the API server that can go silent or be cut.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Passes bytes on. While it is silent, connections stay open, new ones are accepted, and nothing gets through.
pub(crate) struct Proxy {
    port: u16,
    silent: watch::Sender<bool>,
    cuts: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// To that port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let (silent, is_silent) = watch::channel(false);
        let (cuts, cut) = watch::channel(());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (is_silent, mut cut) = (is_silent.clone(), cut.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        () = connect(near, port, is_silent) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            port: own,
            silent,
            cuts,
            task,
        }
    }

    /// Where it is reached.
    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Ends all connections; new ones are passed on.
    pub(crate) fn cut(&self) {
        self.cuts.send_replace(());
    }

    /// Whether it passes nothing on from now on.
    pub(crate) fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(near: TcpStream, port: u16, silent: watch::Receiver<bool>) {
    if let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await {
        let (near_read, near_write) = near.into_split();
        let (far_read, far_write) = far.into_split();
        let _ = tokio::join!(
            pass(near_read, far_write, silent.clone()),
            pass(far_read, near_write, silent),
        );
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut silent: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if silent.wait_for(|silent| !silent).await.is_err() || count == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}
