//! A TCP proxy between a driver and its PBX. It can be cut, or hold back the PBX's data.

use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Data from the PBX waits.
    Held,
    Cut,
}

/// Forwards to one port of this machine. It ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let state = Arc::new(watch::Sender::new(State::Open));
        let gate = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut cut = gate.subscribe();
                // While the link is cut, a new connection is dropped at once.
                if *cut.borrow_and_update() != State::Cut {
                    let held = gate.subscribe();
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = forward(near, port, held) => {}
                            _ = cut.wait_for(|state| *state == State::Cut) => {}
                        }
                    });
                }
            }
        });
        Self { address, state, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Holds back everything that the PBX sends, until [`Self::mend`].
    pub(crate) fn hold(&self) {
        self.state.send_replace(State::Held);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn forward(near: TcpStream, port: u16, mut held: watch::Receiver<State>) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", port)).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let back = async {
        let mut bytes = vec![0; 65_536];
        loop {
            let read = from_far.read(&mut bytes).await?;
            if read == 0 {
                return to_near.shutdown().await;
            }
            let _ = held.wait_for(|state| *state != State::Held).await;
            to_near.write_all(&bytes[..read]).await?;
        }
    };
    tokio::try_join!(tokio::io::copy(&mut from_near, &mut to_far), back).map(|_| ())
}
