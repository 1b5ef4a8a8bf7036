//! Exports that lie in a bucket: found under a prefix, fetched one at a time into a temporary file and read from there.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::ingest::{FileSummary, IngestError, ReadOptions, Sink, read_stream};
use crate::sys::files::{self, FileError};
use crate::sys::objects::{Object, Objects, S3Place, wait};

/// A file in a bucket.
pub(super) struct Stored {
    objects: Arc<Objects>,
    object: Object,
    /// As it is named in messages and in the spans.
    name: String,
}

impl Stored {
    /// The files that a source names; `None` when it is no place in a bucket.
    pub(super) fn find(project: &Project, world: &World, source: &str) -> Option<Done<Vec<Self>>> {
        let place = S3Place::parse(source)?;
        Some(Self::list(project, world, &place))
    }

    fn list(project: &Project, world: &World, place: &S3Place) -> Done<Vec<Self>> {
        let objects = Objects::open(&place.bucket, &project.config.s3, &world.env).map_err(Failed::instrument)?;
        let objects = Arc::new(objects);
        let listed = wait(objects.list(&place.prefix)).map_err(Failed::instrument)?.map_err(Failed::instrument)?;
        let folder = if place.prefix.is_empty() { String::new() } else { format!("{}/", place.prefix) };
        let found: Vec<Self> = listed
            .into_iter()
            .filter(|object| object.key == place.prefix || object.key.starts_with(&folder))
            .filter(|object| {
                object.key.rsplit('/').next().is_some_and(|name| !name.is_empty() && !name.starts_with('.'))
            })
            .map(|object| {
                let name = format!("s3://{}/{}", place.bucket, object.key);
                Self { objects: objects.clone(), object, name }
            })
            .collect();
        if found.is_empty() {
            return Err(Failed::usage(anyhow!("no object under `s3://{}/{}`", place.bucket, place.prefix)));
        }
        Ok(found)
    }

    /// As it is named in messages.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Fetches the file and reads it. One that cannot be fetched costs that one only.
    pub(super) fn read(
        &self,
        format: Option<&str>,
        options: &ReadOptions<'_>,
        sink: &mut dyn Sink,
    ) -> Done<Result<FileSummary, IngestError>> {
        let folder = tempfile::tempdir().map_err(Failed::instrument)?;
        let path = folder.path().join("object");
        if let Err(error) = wait(self.objects.fetch(&self.object, &path)).map_err(Failed::instrument)? {
            let cause = std::io::Error::other(error.to_string());
            return Ok(Err(FileError::new("fetch", Path::new(&self.name), cause).into()));
        }
        let reader = files::open(&path).map_err(Failed::instrument)?;
        Ok(read_stream(&self.name, reader, format, options, sink))
    }
}
