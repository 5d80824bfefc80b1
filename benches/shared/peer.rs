//! The other side of a comparison: a process that runs one arm at a time and answers every line with a line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub type Done<T> = Result<T, Box<dyn std::error::Error>>;

pub struct Peer {
    pub child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a process, and gives the line that it says when it is ready.
    pub fn start(command: &mut Command) -> Done<(Peer, String)> {
        let mut peer = Peer::bare(command)?;
        let ready = peer.answer()?;
        Ok((peer, ready))
    }

    /// Starts a process that says nothing before it is asked.
    #[allow(dead_code)]
    pub fn bare(command: &mut Command) -> Done<Peer> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let to = child.stdin.take().ok_or("no pipe to the peer")?;
        let from = BufReader::new(child.stdout.take().ok_or("no pipe from the peer")?);
        Ok(Peer { child, to, from })
    }

    pub fn ask(&mut self, line: &str) -> Done<String> {
        writeln!(self.to, "{line}")?;
        self.answer()
    }

    fn answer(&mut self) -> Done<String> {
        let mut line = String::new();
        match self.from.read_line(&mut line)? {
            0 => Err("the peer ended; what it says stands above".into()),
            _ => Ok(line.trim().to_string()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing to do about either outcome.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
