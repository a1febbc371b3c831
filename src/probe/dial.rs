//! The way to a server: an address, or whatever else leads there.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection to a server. What a read of it fails with says why there is no server.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Connects to a server that has no address on this machine's network.
pub trait Dial: Debug + Send + Sync {
    /// Makes a connection. Whether somebody is there may be known only when it is read from.
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Connection>>>;
}

#[derive(Debug, Clone)]
pub(super) enum Way {
    Address(SocketAddr),
    /// By somebody else.
    Dialled(Arc<dyn Dial>),
}

impl Way {
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Connection>> {
        match self {
            Self::Address(address) => {
                let stream = TcpStream::connect(address).await?;
                let _ = stream.set_nodelay(true);
                Ok(Box::new(stream))
            }
            Self::Dialled(dial) => dial.dial().await,
        }
    }
}
