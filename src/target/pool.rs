//! Long-lived workers over JSON lines: one line in, one line out, one trial at a time each.
//!
//! A worker that ends, is late, floods or answers out of step is replaced before the next trial; the trial that met it
//! has failed. Knows nothing of what the lines hold but the number of the request, which a worker may echo.

use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::sys::process::{Group, Trouble, end, keep_tail, spawn};

/// How long a worker may take to end once its stdin is closed.
const PARTING: Duration = Duration::from_secs(2);

/// How long a worker that closed its stdout may take to say how it ended.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How large a pool is.
pub(super) struct Size {
    /// Workers.
    pub workers: usize,
    /// Trials after which a worker is replaced.
    pub recycle: Option<u64>,
    /// Most bytes of one answer.
    pub line_limit: usize,
}

/// Why there is no answer.
pub(super) enum Broken {
    /// It could not be started, was late, or wrote too much.
    Trouble(Trouble),
    /// It ended, or closed its stdout, before its answer was whole.
    Ended { status: Option<ExitStatus>, started: String, stderr: String },
    /// It answered another request, or spoke without being asked.
    OutOfStep { line: String, stderr: String },
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Trouble(Trouble::Io(error))
    }
}

/// Workers of one program. They are started when they are first needed.
pub(super) struct Pool {
    start: Box<dyn Fn() -> Command + Send + Sync>,
    size: Size,
    idle: Mutex<Vec<Worker>>,
    places: Semaphore,
    asked: AtomicU64,
}

struct Worker {
    child: Child,
    group: Group,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    stderr: Arc<Mutex<Vec<u8>>>,
    answered: u64,
}

impl Pool {
    pub fn new(start: Box<dyn Fn() -> Command + Send + Sync>, size: Size) -> Self {
        let places = Semaphore::new(size.workers);
        Self { start, size, idle: Mutex::new(Vec::new()), places, asked: AtomicU64::new(0) }
    }

    pub fn workers(&self) -> usize {
        self.size.workers
    }

    /// Puts one request to a worker; `request` gets its number as `request`.
    pub async fn ask(&self, mut request: Value, limit: Duration) -> Result<Vec<u8>, Broken> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        request["request"] = json!(number);
        let mut line = request.to_string().into_bytes();
        line.push(b'\n');
        // Never closed.
        let _place = self.places.acquire().await;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let ready = match idle {
            Some(mut worker) => worker.is_ready().await.then_some(worker),
            None => None,
        };
        // One that ended, or said something, while nobody asked it is replaced.
        let mut worker = ready.map_or_else(|| Worker::start((self.start)()), Ok)?;
        match timeout(limit, worker.ask(&line, self.size.line_limit)).await {
            Ok(Ok(answer)) if answers_another(&answer, number) => {
                let line = String::from_utf8_lossy(&answer).into_owned();
                let stderr = worker.said();
                worker.retire();
                Err(Broken::OutOfStep { line, stderr })
            }
            Ok(Ok(answer)) => {
                worker.answered += 1;
                if self.size.recycle.is_some_and(|most| worker.answered >= most) {
                    worker.retire();
                } else {
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
                }
                Ok(answer)
            }
            Ok(Err(broken)) => Err(broken),
            Err(_) => {
                let stderr = worker.said();
                let Worker { mut child, group, .. } = worker;
                let ignored_term = end(&mut child, group).await;
                Err(Broken::Trouble(Trouble::TimedOut { stderr, ignored_term }))
            }
        }
    }

    /// Lets all idle workers end.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(idle.into_iter().map(Worker::part)).await;
    }
}

/// Whether an answer names the number of another request. One that names none is taken at its word.
fn answers_another(answer: &[u8], number: u64) -> bool {
    #[derive(serde::Deserialize)]
    struct Numbered {
        request: Option<u64>,
    }
    serde_json::from_slice::<Numbered>(answer).is_ok_and(|read| read.request.is_some_and(|read| read != number))
}

impl Worker {
    fn start(command: Command) -> Result<Self, Broken> {
        let (mut child, group) = spawn(command)?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(std::io::Error::other("a pipe is missing").into());
        };
        let kept = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(read_on(stderr, Arc::clone(&kept)));
        Ok(Self { child, group, stdin, stdout: BufReader::new(stdout), stderr: kept, answered: 0 })
    }

    /// Whether it lives and says nothing. What it says unasked would be taken for the answer to the next request.
    async fn is_ready(&mut self) -> bool {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return false;
        }
        timeout(Duration::ZERO, self.stdout.fill_buf()).await.is_err()
    }

    async fn ask(&mut self, line: &[u8], limit: usize) -> Result<Vec<u8>, Broken> {
        // Both at once: a worker may answer before it has read all.
        let write = async {
            // One that ends early is found out by what it does not answer.
            let _ = self.stdin.write_all(line).await;
            let _ = self.stdin.flush().await;
        };
        let mut answer = Vec::new();
        {
            let mut bounded = (&mut self.stdout).take(limit as u64 + 1);
            let read = bounded.read_until(b'\n', &mut answer);
            let mut both = std::pin::pin!(async { tokio::join!(write, read).1 });
            tokio::select! {
                biased;
                read = &mut both => read?,
                // What it left running may hold the pipe open for ever.
                _ = self.child.wait() => timeout(LAST_WORDS, both).await.unwrap_or(Ok(0))?,
            };
        }
        if answer.len() > limit {
            return Err(Broken::Trouble(Trouble::TooMuchOutput));
        }
        if answer.last() == Some(&b'\n') {
            answer.pop();
            return Ok(answer);
        }
        let status = timeout(LAST_WORDS, self.child.wait()).await.ok().and_then(Result::ok);
        let started = String::from_utf8_lossy(&answer).into_owned();
        Err(Broken::Ended { status, started, stderr: self.said() })
    }

    fn said(&self) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// Lets it end while others work on.
    fn retire(self) {
        tokio::spawn(self.part());
    }

    /// Closes its stdin, which tells it to end, and makes sure that it does.
    async fn part(self) {
        let Self { mut child, group, stdin, stdout, .. } = self;
        drop((stdin, stdout));
        if timeout(PARTING, child.wait()).await.is_err() {
            end(&mut child, group).await;
        }
    }
}

async fn read_on(mut pipe: ChildStderr, kept: Arc<Mutex<Vec<u8>>>) {
    let mut block = [0_u8; 4096];
    while let Ok(read @ 1..) = pipe.read(&mut block).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        keep_tail(&mut kept, block.get(..read).unwrap_or_default());
    }
}
