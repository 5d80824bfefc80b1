//! Connections: not too many of them, and none that is kept open by saying nothing.
//!
//! The time limits lie around the stream of bytes: to send the head of a request, between a request and the next, and
//! for a client that takes nothing of what it is sent. While a request is at work there is none: work takes its time.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// Connections at a time; more wait to be accepted.
const MOST: usize = 512;

/// To send the head of a request.
const HEAD: Duration = Duration::from_secs(10);

/// Without a request, or without taking anything of an answer. Longer than the pause between comments of a stream.
const IDLE: Duration = Duration::from_secs(60);

/// How long a refused body is thrown away. A connection that is closed on top of unread bytes is reset, and the client
/// would not see why.
const LINGER: Duration = Duration::from_secs(1);

/// A listener that keeps the limits.
pub struct Limited {
    listener: TcpListener,
    free: Arc<Semaphore>,
    head: Duration,
    idle: Duration,
}

impl Limited {
    pub fn new(listener: TcpListener) -> Limited {
        Limited::with(listener, HEAD, IDLE)
    }

    pub fn with(listener: TcpListener, head: Duration, idle: Duration) -> Limited {
        Limited { listener, free: Arc::new(Semaphore::new(MOST)), head, idle }
    }
}

impl Listener for Limited {
    type Io = Watched;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Watched, SocketAddr) {
        // The semaphore is never closed, and one that were would be no limit.
        let permit = self.free.clone().acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.listener).await;
        // Tokens are small and should not wait for each other.
        let _ = stream.set_nodelay(true);
        let timer = Box::pin(sleep(self.head));
        let (head, idle) = (self.head, self.idle);
        let at = At::Head;
        (Watched { stream, at, timer, head, idle, at_work: AtWork::default(), _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Whether a request of a connection is at work.
#[derive(Clone, Default)]
pub struct AtWork(Arc<AtomicBool>);

impl AtWork {
    /// From now on, until the guard goes.
    pub fn begin(&self) -> Working {
        self.0.store(true, Ordering::Release);
        Working(self.0.clone())
    }
}

/// See [`AtWork::begin`].
pub struct Working(Arc<AtomicBool>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, Limited>> for AtWork {
    fn connect_info(stream: IncomingStream<'_, Limited>) -> AtWork {
        stream.io().at_work.clone()
    }
}

/// What a connection is doing, as far as its bytes tell.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// The head of a request is on its way.
    Head,
    /// Nothing, or an answer.
    Idle,
    /// Our side has ended; what still comes is thrown away.
    Closing,
}

/// A connection with its limits.
pub struct Watched {
    stream: TcpStream,
    at: At,
    timer: Pin<Box<Sleep>>,
    head: Duration,
    idle: Duration,
    at_work: AtWork,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Watched {
    fn within(&mut self, at: At, limit: Duration) {
        self.at = at;
        self.timer.as_mut().reset(Instant::now() + limit);
    }

    /// Whether the time is over. Wakes the connection when it will be.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.timer.as_mut().poll(cx).is_ready()
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.at_work.0.load(Ordering::Acquire) {
            return read;
        }
        if read.is_ready() && buf.filled().len() > before && self.at == At::Idle {
            let limit = self.head;
            self.within(At::Head, limit);
        }
        if self.is_late(cx) && read.is_pending() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.after_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.at != At::Closing {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.within(At::Closing, LINGER);
        }
        let mut thrown_away = [0; 1 << 14];
        loop {
            if self.is_late(cx) {
                return Poll::Ready(Ok(()));
            }
            let mut buf = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl Watched {
    fn after_write(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Ok(n)) if n > 0) {
            let limit = self.idle;
            self.within(At::Idle, limit);
        }
        if self.is_late(cx) && written.is_pending() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}
