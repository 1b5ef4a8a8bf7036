//! The examples of a suite, read when they are needed: a dataset version or a file, whole or a seeded part of it.

use std::sync::Arc;

use anyhow::anyhow;

use super::exit::{Done, Failed};
use super::project::{Project, World};
use super::shards::Shard;
use crate::config::DatasetChoice;
use crate::dataset::{self, DatasetReader, FieldMapping, Filter};
use crate::model::{DatasetHeader, Example, ExampleId};
use crate::runner::Examples;

/// How many rejected rows are told.
const TOLD: usize = 5;

/// Opens the dataset of a suite.
pub fn open_dataset(project: &Project, world: &World, choice: &DatasetChoice) -> Done<DatasetReader> {
    match choice {
        DatasetChoice::Version(wanted) => {
            DatasetReader::open(&project.path(&project.config.datasets), wanted).map_err(Failed::usage)
        }
        DatasetChoice::File { path, fields } => {
            let mapping: Option<FieldMapping> = fields
                .as_ref()
                .map(|fields| serde_json::from_value(serde_json::Value::Object(fields.clone())))
                .transpose()
                .map_err(Failed::usage)?;
            dataset::open_file(&project.path(path), mapping.as_ref(), world.clock.as_ref()).map_err(Failed::usage)
        }
    }
}

/// The examples of one run.
pub struct Chosen {
    reader: DatasetReader,
    /// Places in the dataset; `None` takes all in order.
    places: Option<Vec<usize>>,
}

impl Chosen {
    /// All examples, or the first `limit` of an order made by hashing ids with the seed: a greater limit contains
    /// the choice of a smaller one, and the same ids are chosen whatever their order in the file.
    pub fn of(reader: DatasetReader, limit: Option<u64>, seed: u64) -> Done<Self> {
        if reader.is_empty() {
            return Err(Failed::usage(anyhow!(
                "dataset `{}` has no example; nothing would be run",
                reader.header().name
            )));
        }
        let wanted = match limit.map(usize::try_from) {
            Some(Ok(0)) => return Err(Failed::usage(anyhow!("`--limit 0` selects nothing; give at least 1"))),
            Some(Ok(limit)) if limit < reader.len() => limit,
            _ => return Ok(Self { reader, places: None }),
        };
        let mut order = Vec::with_capacity(reader.len());
        for (place, example) in reader.iter().enumerate() {
            let example = example.map_err(Failed::usage)?;
            order.push((dataset::hash_unit(seed, example.id.as_str()), place));
        }
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut places: Vec<usize> = order.into_iter().take(wanted).map(|(_, place)| place).collect();
        places.sort_unstable();
        Ok(Self { reader, places: Some(places) })
    }

    /// Those of them that stand in a shard.
    pub fn shard(mut self, shard: Shard, seed: u64) -> Done<Self> {
        let mut places = Vec::new();
        for index in 0..self.len() {
            let example = self.load(index).map_err(|error| Failed::usage(anyhow!(error)))?;
            if shard.holds(seed, example.id.as_str()) {
                places.push(self.place(index));
            }
        }
        if places.is_empty() {
            return Err(Failed::usage(anyhow!(
                "shard {shard} holds no example of `{}`; use fewer shards",
                self.name()
            )));
        }
        self.places = Some(places);
        Ok(self)
    }

    /// The head of the dataset.
    pub fn header(&self) -> &DatasetHeader {
        self.reader.header()
    }

    /// Saved slices of the dataset.
    pub fn slices(&self) -> Done<Vec<(String, Filter)>> {
        let slices = &self.header().slices;
        let read = |(name, text): (&String, &String)| {
            Filter::parse_with(text, slices).map(|filter| (name.clone(), filter)).map_err(Failed::usage)
        };
        slices.iter().map(read).collect()
    }

    /// `name@version`, or the bare name of a file.
    pub fn name(&self) -> String {
        let header = self.reader.header();
        if header.version == 0 { header.name.clone() } else { header.reference() }
    }

    /// What the dataset cannot speak for, as a warning.
    pub fn reach(&self) -> Option<String> {
        let design = self.header().design.as_ref()?;
        (!design.probability_sample).then(|| {
            format!(
                "`{}` was chosen for diversity and is not a probability sample: no mean over it is one of the population",
                self.name()
            )
        })
    }

    /// Rows of a plain file that are not among the examples, as a warning with the first places.
    pub fn warning(&self) -> Option<String> {
        let rejected = self.reader.rejected();
        let first: Vec<String> = rejected.kept.iter().take(TOLD).map(|row| format!("\n  {row}")).collect();
        let more = rejected.total.saturating_sub(first.len() as u64);
        let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        let rows = if rejected.total == 1 { "row was" } else { "rows were" };
        let name = &self.reader.header().name;
        (rejected.total > 0).then(|| {
            format!(
                "{} {rows} rejected, so the run is without them: mend `{name}`{}{more}",
                rejected.total,
                first.concat()
            )
        })
    }

    fn place(&self, index: usize) -> usize {
        match &self.places {
            Some(places) => places.get(index).copied().unwrap_or(usize::MAX),
            None => index,
        }
    }
}

impl Examples for Chosen {
    fn len(&self) -> usize {
        self.places.as_ref().map_or_else(|| self.reader.len(), Vec::len)
    }

    fn id(&self, index: usize) -> Result<ExampleId, String> {
        self.load(index).map(|example| example.id.clone())
    }

    fn load(&self, index: usize) -> Result<Arc<Example>, String> {
        self.reader.example(self.place(index)).map(Arc::new).map_err(|error| error.to_string())
    }
}
