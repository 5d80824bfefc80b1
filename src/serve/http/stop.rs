//! Ctrl-C: the first ends the server in order, the second at once.

use crate::error::{Error, Result};

/// Signals of the kind that asks a program to end.
pub struct Stops {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

impl Stops {
    /// Listens from now on; needs the runtime.
    ///
    /// # Errors
    /// A system that does not let it.
    pub fn listen() -> Result<Stops> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let signals = [signal(SignalKind::interrupt()), signal(SignalKind::terminate())];
            let [interrupt, terminate] = signals.map(|s| s.map_err(|e| Error::io("listen for", "signals", e)));
            Ok(Stops { signals: [interrupt?, terminate?] })
        }
        #[cfg(not(unix))]
        Ok(Stops {})
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = &mut self.signals;
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
