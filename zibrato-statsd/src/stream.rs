//! Streams: over TCP or to a Unix socket.
//!
//! StatsD acknowledges nothing, but a daemon that has read a stream to its end closes its side. So each batch has a
//! connection of its own, of which the sending side is closed after the last line: when the end of the daemon's side
//! follows, it has read everything. A reset, or nothing for a while, leaves it unknown.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::address::Address;

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// A connection.
pub(crate) struct Stream {
    both: Box<dyn Both>,
    patience: Duration,
}

/// A stream that broke: how much of the text the system had taken by then.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) taken: usize,
    pub(crate) why: String,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stream")
    }
}

impl Stream {
    /// Connects to `address`, which must be one for streams.
    pub(crate) async fn open(address: &Address, patience: Duration) -> io::Result<Stream> {
        let open = async {
            let both: Box<dyn Both> = match address {
                Address::Tcp(host) => {
                    let stream = TcpStream::connect(host).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                #[cfg(unix)]
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
                _ => {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, "there are no such sockets here"));
                }
            };
            Ok(both)
        };
        let both = within(patience, open).await?;
        Ok(Stream { both, patience })
    }

    /// Connects and closes again, to see whether the daemon is alive: nothing is at stake then.
    pub(crate) async fn probe(address: &Address, patience: Duration) -> io::Result<()> {
        Self::open(address, patience).await?.close().await
    }

    /// Whether the daemon has not closed a connection that was kept.
    pub(crate) async fn is_open(&mut self) -> bool {
        let mut buffer = [0; 64];
        loop {
            // It is asked once, and not waited for.
            match timeout(Duration::ZERO, self.both.read(&mut buffer)).await {
                Err(_) => return true,
                Ok(Ok(1..)) => {}
                Ok(_) => return false,
            }
        }
    }

    /// Hands everything to the system.
    pub(crate) async fn write(&mut self, text: &[u8]) -> Result<(), Broken> {
        let mut taken = 0;
        while taken < text.len() {
            match within(self.patience, self.both.write(&text[taken..])).await {
                Ok(0) => return Err(Broken { taken, why: "nothing more could be written".into() }),
                Ok(more) => taken += more,
                Err(why) => return Err(Broken { taken, why: why.to_string() }),
            }
        }
        let flushed = within(self.patience, self.both.flush()).await;
        flushed.map_err(|why| Broken { taken, why: why.to_string() })
    }

    /// Closes the sending side, and waits until the daemon closes the other one.
    pub(crate) async fn close(mut self) -> io::Result<()> {
        within(self.patience, self.both.shutdown()).await?;
        let rest = async {
            let mut buffer = [0; 1024];
            while self.both.read(&mut buffer).await? > 0 {}
            Ok(())
        };
        within(self.patience, rest).await
    }
}

/// Does something, but not for ever.
pub(crate) async fn within<T>(
    patience: Duration,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    timeout(patience, work).await.unwrap_or_else(|_| {
        let why = format!("nothing happened within {} s", patience.as_secs_f64());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}
