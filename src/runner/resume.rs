//! What of a run is already done, read from its journal; and whether the run may go on at all.
//!
//! Holds one bit per trial and per cell, and the outcomes of those trials only whose cells are not all done.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::budget::Dearest;
use super::{Examples, RunError};
use crate::compare::count;
use crate::model::{CellKey, Event, ExampleId, GraderInfo, RunHeader, RunStatus, RunTotals, TargetOutcome, TrialKey};
use crate::store::Store;

/// Entries read at once.
const PAGE: u32 = 2_000;

/// How far a run got. Cheap to keep: a million cells take less than 300 KB.
pub struct Progress {
    header: RunHeader,
    totals: RunTotals,
    dearest: Dearest,
    next_seq: u64,
    layout: Layout,
    done: Option<Done>,
}

/// One trial of a run by the place of its example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) index: usize,
    pub(super) trial: u32,
}

/// One cell of a trial: the place of its grader in the header, and the draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) grader: usize,
    pub(super) draw: u32,
}

struct Done {
    ids: IdIndex,
    targets: Bits,
    cells: Bits,
    /// Trials whose target has ended and whose cells are not all done.
    open: HashMap<Slot, (TargetOutcome, usize)>,
}

impl Progress {
    /// Nothing is done yet.
    pub fn fresh(header: &RunHeader) -> Self {
        let layout = Layout::of(&header.graders);
        let trials_planned = header.examples * u64::from(header.trials);
        let cells_planned = trials_planned * layout.cells as u64;
        let totals = RunTotals { trials_planned, cells_planned, ..RunTotals::default() };
        Self { header: header.clone(), totals, dearest: Dearest::default(), next_seq: 0, layout, done: None }
    }

    /// Reads the journal of a run that goes on. `configured` is the header as it would be written today, with the
    /// run's id; what differs from the stored one is refused, except trials, seed and names, which are the stored ones.
    pub async fn read(
        store: &dyn Store,
        configured: &RunHeader,
        examples: &dyn Examples,
    ) -> Result<(Self, RunStatus), RunError> {
        let run = &configured.id;
        let summary = store.find_run(run.as_str()).await?;
        let what = differences(&summary.header, configured);
        if !what.is_empty() {
            return Err(RunError::Changed { run: run.clone(), what });
        }
        let mut progress = Self::fresh(&summary.header);
        progress.done = Some(Done::nothing(&progress, examples)?);
        loop {
            let page = store.replay(run, progress.next_seq, PAGE).await?;
            let last = page.len() < PAGE as usize;
            for entry in page {
                if entry.seq != progress.next_seq {
                    return Err(progress.damaged(format!("entry {} is missing", progress.next_seq)));
                }
                progress.next_seq += 1;
                progress.take(entry.event, examples)?;
            }
            if last {
                return Ok((progress, summary.status));
            }
        }
    }

    /// The header the run was started with.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// Counts so far.
    pub fn totals(&self) -> &RunTotals {
        &self.totals
    }

    /// Cells that have an outcome.
    pub fn cells_done(&self) -> u64 {
        self.totals.cells_done()
    }

    /// Cells of one grader that have an outcome, by its place in the header.
    pub fn grader_cells_done(&self, grader: usize) -> u64 {
        let (Some(done), Some((_, start, draws))) = (&self.done, self.layout.graders.get(grader)) else { return 0 };
        let trials = done.cells.len() / self.layout.cells.max(1);
        let starts = (0..trials).map(|trial| trial * self.layout.cells + start);
        starts.map(|start| (start..start + *draws as usize).filter(|bit| done.cells.get(*bit)).count() as u64).sum()
    }

    /// Number of the next entry.
    pub(super) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The dearest calls so far.
    pub(super) fn dearest(&self) -> Dearest {
        self.dearest
    }

    /// How a trial's target ended, where its cells are not all done.
    pub(super) fn outcome(&self, slot: Slot) -> Option<&TargetOutcome> {
        self.done.as_ref()?.open.get(&slot).map(|(outcome, _)| outcome)
    }

    /// Whether nothing is left to do for a trial.
    pub(super) fn is_done(&self, slot: Slot) -> bool {
        let Some(done) = &self.done else { return false };
        done.targets.get(self.trial_bit(slot)) && !done.open.contains_key(&slot)
    }

    /// Cells of a trial that have no outcome yet.
    pub(super) fn missing(&self, slot: Slot) -> Vec<Place> {
        let start = self.trial_bit(slot) * self.layout.cells;
        let is_missing = |bit: usize| self.done.as_ref().is_none_or(|done| !done.cells.get(start + bit));
        self.layout.places().filter(|(bit, _)| is_missing(*bit)).map(|(_, place)| place).collect()
    }

    fn trial_bit(&self, slot: Slot) -> usize {
        slot.index * self.header.trials as usize + slot.trial as usize
    }

    fn take(&mut self, event: Event, examples: &dyn Examples) -> Result<(), RunError> {
        count(&mut self.totals, &event);
        self.dearest.push(&event);
        match event {
            Event::TargetFinished { trial, outcome, .. } => self.take_target(&trial, outcome, examples),
            Event::ScoreFinished { cell, .. } => self.take_cell(&cell, examples),
            _ => Ok(()),
        }
    }

    fn take_target(&mut self, key: &TrialKey, outcome: TargetOutcome, examples: &dyn Examples) -> Result<(), RunError> {
        let slot = self.slot(key, examples)?;
        let (bit, cells) = (self.trial_bit(slot), self.layout.cells);
        if let Some(done) = &mut self.done {
            done.targets.set(bit);
            if cells > 0 {
                done.open.insert(slot, (outcome, cells));
            }
        }
        Ok(())
    }

    fn take_cell(&mut self, cell: &CellKey, examples: &dyn Examples) -> Result<(), RunError> {
        let slot = self.slot(&cell.trial, examples)?;
        let Some(place) = self.layout.bit(&cell.grader, cell.draw) else {
            return Err(self.damaged(format!("it scores a cell of `{}` that was not planned", cell.grader)));
        };
        let bit = self.trial_bit(slot) * self.layout.cells + place;
        let Some(done) = &mut self.done else { return Ok(()) };
        done.cells.set(bit);
        match done.open.get_mut(&slot) {
            Some((_, left)) if *left > 1 => *left -= 1,
            Some(_) => drop(done.open.remove(&slot)),
            None => {
                return Err(self.damaged(format!("example `{}` is scored before its target ended", cell.trial.example)));
            }
        }
        Ok(())
    }

    fn slot(&self, key: &TrialKey, examples: &dyn Examples) -> Result<Slot, RunError> {
        let found = match &self.done {
            Some(done) => done.ids.find(&key.example, examples).map_err(|cause| self.damaged(cause))?,
            None => None,
        };
        match found {
            Some(index) if key.trial < self.header.trials => Ok(Slot { index, trial: key.trial }),
            _ => Err(self.damaged(format!("trial {} of example `{}` was not planned", key.trial, key.example))),
        }
    }

    fn damaged(&self, cause: String) -> RunError {
        RunError::Damaged { run: self.header.id.clone(), cause }
    }
}

impl Done {
    fn nothing(progress: &Progress, examples: &dyn Examples) -> Result<Self, RunError> {
        let header = &progress.header;
        let trials = examples.len() * header.trials as usize;
        let ids = IdIndex::of(examples).map_err(|(index, cause)| RunError::Example {
            number: index + 1,
            dataset: header.dataset.clone(),
            cause,
        })?;
        let cells = Bits::new(trials * progress.layout.cells);
        Ok(Self { ids, targets: Bits::new(trials), cells, open: HashMap::new() })
    }
}

/// What differs between the header a run was started with and the one of today, as far as it changes findings; one
/// sentence each, empty when the run may go on.
pub fn differences(stored: &RunHeader, now: &RunHeader) -> Vec<String> {
    let mut found = Vec::new();
    if stored.format > now.format {
        found.push(format!("its journal has format {} and this program knows {}", stored.format, now.format));
    }
    if stored.dataset_digest != now.dataset_digest || stored.examples != now.examples {
        found.push(format!(
            "the dataset changed: it was `{}` ({}, {} examples), it is `{}` ({}, {} examples)",
            stored.dataset,
            stored.dataset_digest.short(),
            stored.examples,
            now.dataset,
            now.dataset_digest.short(),
            now.examples
        ));
    }
    if stored.target.digest != now.target.digest {
        let (was, is) = (&stored.target, &now.target);
        found.push(format!(
            "the target changed: it was `{}` ({}), it is `{}` ({})",
            was.name,
            was.digest.short(),
            is.name,
            is.digest.short()
        ));
    }
    for was in &stored.graders {
        match now.graders.iter().find(|is| is.name == was.name) {
            None => found.push(format!("grader `{}` is gone", was.name)),
            Some(is) if is.digest != was.digest => found.push(format!(
                "grader `{}` changed: it was {} {} ({}), it is {} {} ({})",
                was.name,
                was.component,
                was.version,
                was.digest.short(),
                is.component,
                is.version,
                is.digest.short()
            )),
            Some(is) if is.draws != was.draws => {
                found.push(format!("grader `{}` had {} draws and has {}", was.name, was.draws, is.draws));
            }
            Some(_) => {}
        }
    }
    let is_new = |is: &&GraderInfo| stored.graders.iter().all(|was| was.name != is.name);
    found.extend(now.graders.iter().filter(is_new).map(|is| format!("grader `{}` is new", is.name)));
    found
}

/// Where the cells of a trial lie: graders in the header's order, draws within.
struct Layout {
    graders: Vec<(String, usize, u32)>,
    cells: usize,
}

impl Layout {
    fn of(graders: &[GraderInfo]) -> Self {
        let mut cells = 0;
        let place = |grader: &GraderInfo| {
            let start = cells;
            cells += grader.draws as usize;
            (grader.name.clone(), start, grader.draws)
        };
        let graders = graders.iter().map(place).collect();
        Self { graders, cells }
    }

    fn bit(&self, grader: &str, draw: u32) -> Option<usize> {
        let (_, start, draws) = self.graders.iter().find(|(name, _, _)| name == grader)?;
        (draw < *draws).then_some(start + draw as usize)
    }

    fn places(&self) -> impl Iterator<Item = (usize, Place)> {
        let graders = self.graders.iter().enumerate();
        graders.flat_map(|(grader, (_, start, draws))| {
            (0..*draws).map(move |draw| (start + draw as usize, Place { grader, draw }))
        })
    }
}

/// Finds an example's place by its id in sixteen bytes per example; the ids themselves would take many times that.
struct IdIndex {
    hashes: Vec<(u64, u32)>,
}

impl IdIndex {
    fn of(examples: &dyn Examples) -> Result<Self, (usize, String)> {
        let mut hashes = Vec::with_capacity(examples.len());
        for index in 0..examples.len() {
            let place = u32::try_from(index).map_err(|_| (index, "there are too many examples".to_owned()))?;
            let id = examples.id(index).map_err(|cause| (index, cause))?;
            hashes.push((hash(&id), place));
        }
        hashes.sort_unstable();
        Ok(Self { hashes })
    }

    fn find(&self, id: &ExampleId, examples: &dyn Examples) -> Result<Option<usize>, String> {
        let wanted = hash(id);
        let start = self.hashes.partition_point(|(hash, _)| *hash < wanted);
        let mut alike = self.hashes.iter().skip(start).take_while(|(hash, _)| *hash == wanted);
        match (alike.next(), alike.next()) {
            (None, _) => Ok(None),
            // One alike among 64 bits is the one.
            (Some((_, index)), None) => Ok(Some(*index as usize)),
            (Some(_), Some(_)) => self.find_among_alike(id, start, wanted, examples),
        }
    }

    fn find_among_alike(
        &self,
        id: &ExampleId,
        start: usize,
        wanted: u64,
        examples: &dyn Examples,
    ) -> Result<Option<usize>, String> {
        for (_, index) in self.hashes.iter().skip(start).take_while(|(hash, _)| *hash == wanted) {
            if examples.id(*index as usize)? == *id {
                return Ok(Some(*index as usize));
            }
        }
        Ok(None)
    }
}

fn hash(id: &ExampleId) -> u64 {
    // Never written down: it only has to be the same within one process.
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// A row of bits.
struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    fn new(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(64)], len }
    }

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, bit: usize) -> bool {
        self.words.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }

    fn set(&mut self, bit: usize) {
        if let Some(word) = self.words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }
}
