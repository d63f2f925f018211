//! A way to a server that breaks at a chosen point.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Passes on that many answers of the server, of all connections together. The next one is lost, and all connections
/// with it: what was asked for has been done, and nobody hears of it.
pub(super) struct Proxy {
    address: SocketAddr,
    left: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn new(server: SocketAddr, answers: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let left = Arc::new(AtomicUsize::new(answers + 1));
        let budget = left.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, budget.clone()));
            }
        });
        Self {
            address,
            left,
            task,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether an answer was lost.
    pub(super) fn broke(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, left: Arc<AtomicUsize>) {
    if left.load(Ordering::SeqCst) == 0 {
        return;
    }
    let mut server = TcpStream::connect(server).await.unwrap();
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(count) if count > 0 => server.write_all(&asked[..count]).await.unwrap(),
                _ => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(count) if count > 0 => {
                    let spend = |left: usize| left.checked_sub(1);
                    let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend);
                    if before.unwrap_or(0) <= 1 || client.write_all(&answered[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
