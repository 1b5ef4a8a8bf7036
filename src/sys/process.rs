//! A child process with bounded pipes, of which nothing is left when it is done, timed out or forgotten.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Env;

/// Variables that every program gets: without them interpreters do not find themselves. Everything else, keys above
/// all, must be named.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TEMP",
    "TMP",
    "SYSTEMROOT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "VIRTUAL_ENV",
];

/// The variables that every program gets, as far as they are set.
pub(crate) fn plain_variables(env: &Env) -> BTreeMap<String, String> {
    PASSED.iter().filter_map(|name| Some(((*name).to_owned(), env.get(name)?.to_owned()))).collect()
}

/// How long pipes are read on after the process itself has ended: what it left running may hold them open for ever.
const GRACE: Duration = Duration::from_secs(1);

/// How long a group that was asked to end (TERM) may take before it is killed.
const TERM_GRACE: Duration = Duration::from_millis(1000);

/// Bytes of standard error that are kept: its end, where programs say why they stop.
const STDERR_TAIL: usize = 4096;

/// What a process did.
pub(crate) struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// The end of standard error.
    pub stderr: String,
}

/// Why there is no [`Finished`].
pub(crate) enum Trouble {
    /// It could not be started or waited for.
    Io(std::io::Error),
    /// It wrote more than it may.
    TooMuchOutput,
    /// It did not end in time.
    TimedOut {
        /// What it had said on standard error until then.
        stderr: String,
        /// Whether it was asked to end and did not.
        ignored_term: bool,
    },
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// Longest time that a call takes beyond its limit.
pub(crate) const OVERTIME: Duration = Duration::from_millis(1500);

/// Starts a command in a process group of its own, with pipes. The group is killed when what is given back is dropped.
pub(crate) fn spawn(mut command: Command) -> std::io::Result<(Child, Group)> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    let child = command.spawn()?;
    let group = Group::of(&child);
    Ok((child, group))
}

/// Asks a group to end, waits a moment, and kills what is left. Says whether its leader had to be killed.
pub(crate) async fn end(child: &mut Child, group: Group) -> bool {
    group.terminate();
    let stubborn = timeout(TERM_GRACE, child.wait()).await.is_err();
    drop(group);
    stubborn
}

/// Runs a command in a process group of its own. One that does not end in time is asked to, then killed. Whatever
/// happens, also when the future is dropped, the whole group is killed: the children of its children too, unless they
/// left the group.
pub(crate) async fn run(
    command: Command,
    input: &[u8],
    stdout_limit: usize,
    limit: Duration,
) -> Result<Finished, Trouble> {
    let (mut child, group) = spawn(command)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let outcome = timeout(limit, converse(&mut child, input, &mut stdout, stdout_limit, &mut stderr)).await;
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    match outcome {
        Ok(status) => Ok(Finished { status: status?, stdout, stderr }),
        Err(_) => {
            let ignored_term = end(&mut child, group).await;
            Err(Trouble::TimedOut { stderr, ignored_term })
        }
    }
}

async fn converse(
    child: &mut Child,
    input: &[u8],
    stdout: &mut Vec<u8>,
    stdout_limit: usize,
    stderr: &mut Vec<u8>,
) -> Result<ExitStatus, Trouble> {
    let (pipe_in, pipe_out, pipe_err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut pipe) = pipe_in {
            // A program that does not care for its input closes it early; that is its right.
            let _ = pipe.write_all(input).await;
        }
        Ok(())
    };
    let read_out = read_all(pipe_out, stdout, stdout_limit);
    let read_err = async {
        read_tail(pipe_err, stderr).await;
        Ok(())
    };
    let mut pipes = std::pin::pin!(async { tokio::try_join!(write, read_out, read_err) });
    tokio::select! {
        // What it wrote last must be read even when its end is seen at the same time.
        biased;
        done = &mut pipes => {
            done?;
            Ok(child.wait().await?)
        }
        status = child.wait() => {
            if let Ok(done) = timeout(GRACE, pipes).await {
                done?;
            }
            Ok(status?)
        }
    }
}

async fn read_all(pipe: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>, limit: usize) -> Result<(), Trouble> {
    let Some(pipe) = pipe else { return Ok(()) };
    pipe.take(limit as u64 + 1).read_to_end(to).await?;
    if to.len() > limit { Err(Trouble::TooMuchOutput) } else { Ok(()) }
}

async fn read_tail(pipe: Option<impl AsyncRead + Unpin>, to: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut block = [0_u8; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut block).await {
        keep_tail(to, block.get(..read).unwrap_or_default());
    }
}

/// Adds to what is kept of standard error, and lets go of its beginning.
pub(crate) fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    tail.extend_from_slice(more);
    if tail.len() > 2 * STDERR_TAIL {
        tail.drain(..tail.len() - STDERR_TAIL);
    }
}

/// The group of a process; killed when this is dropped.
///
/// The group's number is the leader's. It stays taken as long as any member lives, so no stranger is hit while there
/// is somebody to kill; only when the whole group is gone could the number be reused, within the moment between the
/// leader's end and this.
pub(crate) struct Group {
    #[cfg(unix)]
    leader: Option<rustix::process::Pid>,
}

impl Group {
    #[cfg(unix)]
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self { leader: id.and_then(rustix::process::Pid::from_raw) }
    }

    #[cfg(not(unix))]
    pub(super) fn of(_child: &Child) -> Self {
        Self {}
    }

    /// Asks the whole group to end.
    fn terminate(&self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader {
            // The usual error is that nobody is left.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(leader) = self.leader {
            // The usual error is that nobody is left, which is what is wanted.
            let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        }
    }
}
