//! The project a command works in: its configuration, its folders, its store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;

use super::check;
use super::exit::{Done, Failed};
use crate::config::{self, Config, Faults, Suite};
use crate::lake::Lake;
use crate::model::Digest;
use crate::store::{self, Store};
use crate::sys::objects::{Objects, S3Place};
use crate::sys::{Clock, Env, files};

/// What a use case gets from outside: environment, clock, folder.
#[derive(Clone)]
pub struct World {
    /// Environment.
    pub env: Env,
    /// Clock.
    pub clock: Arc<dyn Clock>,
    /// Folder the command was started in.
    pub here: PathBuf,
}

/// A configuration with the folder its paths are relative to.
#[derive(Clone)]
pub struct Project {
    /// What is configured.
    pub config: Config,
    /// None yet; takes those of later checks and knows their lines.
    pub faults: Faults,
    /// The file; it may not exist, when every default will do.
    pub file: PathBuf,
    /// Folder of the file.
    pub root: PathBuf,
}

impl Project {
    /// Reads the named file, or `assize.toml` in `here` or a folder above. Without any file the defaults hold, which
    /// is enough for every verb that needs no suite.
    pub fn find(named: Option<&Path>, here: &Path) -> Done<Self> {
        let file = match named {
            Some(file) => here.join(file),
            None => here
                .ancestors()
                .map(|folder| folder.join("assize.toml"))
                .find(|file| file.is_file())
                .unwrap_or_else(|| here.join("assize.toml")),
        };
        if named.is_none() && !file.is_file() {
            return Self::of_text("", &file);
        }
        let text = files::read_text(&file).map_err(Failed::usage)?;
        Self::of_text(&text, &file)
    }

    /// A project whose configuration is given as text; `file` says where it stands. Everything that the files alone
    /// show to be wrong is told at once, also to a verb that does not need the broken part: a configuration is right
    /// or wrong, whatever is done with it.
    pub fn of_text(text: &str, file: &Path) -> Done<Self> {
        let (config, mut faults) = config::parse(text, file).map_err(Failed::usage)?;
        let root = file.parent().map_or_else(PathBuf::new, Path::to_owned);
        check::components(&config, &root, &mut faults);
        faults.done(file).map_err(Failed::usage)?;
        Ok(Self { config, faults, file: file.to_owned(), root })
    }

    /// A configured path, made absolute against the folder of the configuration.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The lake: a folder, or a bucket with a folder that mirrors it.
    pub fn lake(&self, env: &Env) -> Done<Lake> {
        let Some(place) = S3Place::parse(&self.config.lake) else { return Ok(Lake::new(self.lake_folder())) };
        let objects = Objects::open(&place.bucket, &self.config.s3, env).map_err(Failed::instrument)?;
        Ok(Lake::in_bucket(self.lake_folder(), objects, &place.prefix))
    }

    /// The folder of what belongs to the lake and is nowhere else: spool, rejected rows, places of pulls, the key of
    /// deletions. Beside the parts for a folder; for a bucket apart from its mirror, which may be deleted at any time.
    pub fn state_folder(&self) -> PathBuf {
        if S3Place::parse(&self.config.lake).is_none() {
            return self.path(&self.config.lake);
        }
        self.path(".assize/state").join(self.bucket_name())
    }

    /// A folder's name for a lake in a bucket.
    fn bucket_name(&self) -> String {
        let endpoint = self.config.s3.endpoint.as_deref().unwrap_or_default();
        Digest::of(format!("{endpoint} {}", self.config.lake).as_bytes()).short().to_owned()
    }

    /// The folder of the lake; for one in a bucket, that of its mirror.
    pub fn lake_folder(&self) -> PathBuf {
        if S3Place::parse(&self.config.lake).is_none() {
            return self.path(&self.config.lake);
        }
        self.path(".assize/mirror").join(self.bucket_name())
    }

    /// The suite of a name, or the only one.
    pub fn suite(&self, name: Option<&str>) -> Done<&Suite> {
        let known: Vec<&str> = self.config.suites.keys().map(String::as_str).collect();
        let fail = |message: String| Err(Failed::usage(anyhow!(message)));
        match (name, known.as_slice()) {
            (Some(name), _) => match self.config.suites.get(name) {
                Some(suite) => Ok(suite),
                None if known.is_empty() => fail(self.no_suite()),
                None => fail(format!("no suite `{name}` in `{}`; there is {}", self.file.display(), known.join(", "))),
            },
            (None, [only]) => self.suite(Some(only)),
            (None, []) => fail(self.no_suite()),
            (None, _) => {
                fail(format!("`{}` has several suites; name one of {}", self.file.display(), known.join(", ")))
            }
        }
    }

    fn no_suite(&self) -> String {
        if self.file.is_file() {
            format!("`{}` has no suite; add one under `[suites.NAME]`", self.file.display())
        } else {
            format!("no `assize.toml` in `{}` or above; `assize init` writes one", self.root.display())
        }
    }

    /// Where the store is: the variable `ASSIZE_STORE`, else the configuration, with file paths made absolute.
    pub fn store_place(&self, env: &Env) -> String {
        let place = env.get("ASSIZE_STORE").unwrap_or(&self.config.store);
        if place.starts_with("postgres://") || place.starts_with("postgresql://") {
            return place.to_owned();
        }
        let path = place.strip_prefix("sqlite:").unwrap_or(place);
        format!("sqlite:{}", self.path(path).display())
    }

    /// Opens the store.
    pub async fn store(&self, env: &Env) -> Done<Arc<dyn Store>> {
        store::open(&self.store_place(env)).await.map_err(|error| {
            let from = if env.get("ASSIZE_STORE").is_some() { "`ASSIZE_STORE`" } else { "`store` under `[project]`" };
            Failed::instrument(anyhow!("{error}; nothing was changed; {from} says where the store is"))
        })
    }
}
