//! Who tidies a lake is alone at it: two tidyings at once could bring back what one of them deleted.
//!
//! On a machine a lock on a file says so, which ends with its process. In a bucket an object does, put there only where
//! none is; it stays when a process dies, and then someone who knows that it died deletes it.

use crate::sys::objects::Object;
use crate::sys::{Clock, SystemClock, files};

use super::bucket::Remote;
use super::{Lake, LakeError};

/// The object that claims a lake in a bucket, beside its tables.
const CLAIM: &str = "tidying.lock";

/// A claim on a lake; given up when dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    lake: Lake,
    /// Key of the object that claims it, where it is in a bucket.
    there: Option<String>,
    _here: files::Lock,
}

impl Lake {
    /// Claims the lake for a tidying.
    pub(super) fn alone(&self) -> Result<Claim, LakeError> {
        let here = files::lock(&self.root().join(".tidying"))?;
        let here = here.ok_or_else(|| LakeError::Busy { folder: self.root().to_owned() })?;
        let there = self.remote.as_deref().map(|remote| self.claim_bucket(remote)).transpose()?;
        Ok(Claim { lake: self.clone(), there, _here: here })
    }

    fn claim_bucket(&self, remote: &Remote) -> Result<String, LakeError> {
        let key = format!("{}{CLAIM}", remote.prefix);
        let ours = format!("process {} since {}", std::process::id(), SystemClock.now());
        if self.remotely(remote.objects.put(&key, ours.clone().into()))? {
            return Ok(key);
        }
        // Where the answer was lost and the request sent again, the claim that stands there is our own.
        let by = self.claimed_by(remote, &key)?;
        if by == ours { Ok(key) } else { Err(LakeError::Claimed { object: key, by }) }
    }

    fn claimed_by(&self, remote: &Remote, key: &str) -> Result<String, LakeError> {
        let objects = self.remotely(remote.objects.list(key))?;
        let held: Option<Object> = objects.into_iter().find(|object| object.key == key);
        let Some(held) = held else { return Ok("a process that has just ended".to_owned()) };
        let copy = self.root().join(".claimed");
        self.remotely(remote.objects.fetch(&held, &copy))?;
        Ok(crate::sys::text::one_line(&files::read_text(&copy)?, 100))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(key), Some(remote)) = (&self.there, self.lake.remote.as_deref()) {
            // What stays is told, with its mend, to the next who wants to tidy.
            let _ = self.lake.remotely(remote.objects.remove(key));
        }
    }
}
