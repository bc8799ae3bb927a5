//! A TCP proxy that can be cut, to stand between a driver and its switch.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards to one port of this machine. Gone when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let open = Arc::new(watch::Sender::new(true));
        let gate = Arc::clone(&open);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut cut = gate.subscribe();
                // Dropping the connection at once is how a cut looks to those who try anew.
                if *cut.borrow_and_update() {
                    tokio::spawn(async move {
                        tokio::select! {
                            () = forward(near, port) => {}
                            _ = cut.wait_for(|open| !open) => {}
                        }
                    });
                }
            }
        });
        Self { address, open, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn forward(mut near: TcpStream, port: u16) {
    if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
        let _ = near.set_nodelay(true);
        let _ = far.set_nodelay(true);
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}
