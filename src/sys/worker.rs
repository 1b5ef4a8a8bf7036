//! A long-lived child process that is asked line by line: a line goes in, a line comes out, with limits on both sides.
//!
//! What lines mean is the caller's. A worker that was late, wrote too much or stopped is of no more use: dropping it
//! kills its whole group.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::process::{Group, keep_tail};

/// A process that answers lines.
pub(crate) struct Worker {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<Vec<u8>>>,
    _child: Child,
    _group: Group,
}

/// Why there is no answer.
pub(crate) enum NoLine {
    /// Reading or writing failed, or the process ended.
    Ended,
    /// It wrote more than it may, or before it was asked.
    TooMuch,
    /// It did not answer in time.
    TimedOut,
}

impl Worker {
    /// Starts it in a process group of its own.
    pub(crate) fn start(mut command: Command) -> std::io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let group = Group::of(&child);
        let gone = || std::io::Error::other("the process has no pipes");
        let (stdin, stdout) = (child.stdin.take().ok_or_else(gone)?, child.stdout.take().ok_or_else(gone)?);
        let stderr = Arc::new(Mutex::new(Vec::new()));
        if let Some(mut pipe) = child.stderr.take() {
            let tail = Arc::clone(&stderr);
            // Ends with the pipe, which the group's end closes.
            tokio::spawn(async move {
                let mut block = [0_u8; 4096];
                while let Ok(read @ 1..) = pipe.read(&mut block).await {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    keep_tail(&mut tail, block.get(..read).unwrap_or_default());
                }
            });
        }
        Ok(Self { stdin, stdout: BufReader::new(stdout), stderr, _child: child, _group: group })
    }

    /// Puts one line, without its break, and reads one, without its break.
    pub(crate) async fn ask(&mut self, line: &[u8], limit: usize, within: Duration) -> Result<Vec<u8>, NoLine> {
        if !self.stdout.buffer().is_empty() {
            // Whatever it says now, nobody knows to which question.
            return Err(NoLine::TooMuch);
        }
        let write = async {
            self.stdin.write_all(line).await?;
            self.stdin.write_all(b"\n").await?;
            self.stdin.flush().await
        };
        let mut answer = Vec::new();
        let read = async {
            let mut bounded = (&mut self.stdout).take(limit as u64 + 1);
            bounded.read_until(b'\n', &mut answer).await
        };
        // A program may answer before it has read everything.
        let both = async { tokio::try_join!(async { write.await.or(Ok(())) }, read) };
        match timeout(within, both).await {
            Err(_) => Err(NoLine::TimedOut),
            Ok(Err(_)) => Err(NoLine::Ended),
            Ok(Ok(_)) if answer.pop() == Some(b'\n') && answer.len() <= limit => Ok(answer),
            Ok(Ok((_, read))) if read > limit => Err(NoLine::TooMuch),
            Ok(Ok(_)) => Err(NoLine::Ended),
        }
    }

    /// The end of what it said on standard error.
    pub(crate) fn stderr(&self) -> String {
        let tail = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&tail).into_owned()
    }
}
