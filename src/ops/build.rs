//! From names and options to components: target and graders of a suite, every problem at once with its line. Names
//! and options were held against the tables when the project was read; what is left is what building finds.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::Value;

use super::exit::{Done, Failed};
use super::graders::{Built, Maker};
use super::project::{Project, World};
use super::services::Services;
use super::staging::staged;
use crate::config::{Faults, GraderConfig, GraderUse, Suite, TargetConfig};
use crate::judge::{self, Grade, Judge, JudgeModel, JudgeOnSpans, Labelled, OutsideInfo, Shots, Surroundings};
use crate::model::{Digester, GraderInfo, GraderKind, canonical_json};
use crate::provider::Client;
use crate::rubric::JudgeSpec;
use crate::runner::{Grader, Work};
use crate::scorer;
use crate::target::{self, Target};

/// What a run is made of.
pub struct Parts {
    /// Target.
    pub target: Arc<dyn Target>,
    /// Graders, in the suite's order.
    pub graders: Vec<Grader>,
    /// The judges among them, by grader name, for the plan.
    pub judges: Vec<(String, Arc<dyn Grade>)>,
}

/// Collects problems of components with their lines.
pub struct Builder<'a> {
    project: &'a Project,
    world: &'a World,
    services: &'a Services,
    faults: Faults,
}

impl<'a> Builder<'a> {
    /// A builder without problems yet.
    pub fn new(project: &'a Project, world: &'a World, services: &'a Services) -> Self {
        Self { project, world, services, faults: project.faults.clone() }
    }

    /// Builds the parts of a suite with one of its targets.
    pub fn parts(mut self, suite: &Suite, target: &str) -> Done<Parts> {
        let known = suite.targets.keys().cloned().collect::<Vec<_>>().join(", ");
        let built = match suite.targets.get(target) {
            Some(config) => self.target(target, config),
            None => {
                let error = anyhow!("suite `{}` has no target `{target}`; there is {known}", suite.name);
                return Err(Failed::usage(error));
            }
        };
        let mut graders = Vec::new();
        let mut judges = Vec::new();
        for config in &suite.graders {
            match &config.with {
                GraderUse::Scorer { scorer, options } => {
                    let options = Value::Object(options.clone());
                    let Some(outside) = judge::find_outside(scorer) else {
                        graders.extend(self.scorer(config, scorer, &options));
                        continue;
                    };
                    let built = self.outside(config, outside, &options).map(|built| vec![built]);
                    let built = built.and_then(|built| on_spans(built, config));
                    let built = built.map_err(|message| self.faults.add(&config.pointer, message)).unwrap_or_default();
                    for (info, grade) in built {
                        // The plan counts what asks of models will cost.
                        if info.model.is_some() {
                            judges.push((info.name.clone(), Arc::clone(&grade)));
                        }
                        graders.push(Grader { info, work: Work::Judge(grade) });
                    }
                }
                GraderUse::Judge { judge, model, draws, others } => {
                    let maker = Maker {
                        project: self.project,
                        world: self.world,
                        services: self.services,
                        dataset: &suite.dataset,
                        seed: suite.seed,
                    };
                    let built = maker.graders((&config.name, judge, model), *draws, others);
                    let built = built.and_then(|built| on_spans(built, config));
                    for (info, judge) in
                        built.map_err(|message| self.faults.add(&config.pointer, message)).unwrap_or_default()
                    {
                        judges.push((info.name.clone(), Arc::clone(&judge)));
                        graders.push(Grader { info, work: Work::Judge(judge) });
                    }
                }
            }
        }
        self.faults.done(&self.project.file).map_err(Failed::usage)?;
        let target = built.ok_or_else(|| Failed::usage(anyhow!("target `{target}` could not be built")))?;
        Ok(Parts { target, graders, judges })
    }

    /// Builds one target alone.
    pub fn target_of(mut self, name: &str, config: &TargetConfig) -> Done<Arc<dyn Target>> {
        let built = self.target(name, config);
        self.faults.done(&self.project.file).map_err(Failed::usage)?;
        built.ok_or_else(|| Failed::usage(anyhow!("target `{name}` could not be built")))
    }

    fn target(&mut self, name: &str, config: &TargetConfig) -> Option<Arc<dyn Target>> {
        let options = Value::Object(config.options.clone());
        let models = |alias: &str| self.services.model(alias);
        let context = target::BuildContext {
            name,
            env: &self.world.env,
            http: self.services.http(),
            clock: self.world.clock.clone(),
            models: &models,
            base: &self.project.root,
        };
        let built = target::find(&config.kind).ok_or_else(|| no_such("target kind", &config.kind));
        let built = built.and_then(|info| (info.build)(&options, &context));
        let built = built.and_then(|target| staged(target, &config.around, self.project, self.world, self.services));
        built.map_err(|message| self.faults.add(&config.pointer, message)).ok()
    }

    fn outside(&self, config: &GraderConfig, info: &OutsideInfo, options: &Value) -> Result<Built, String> {
        let around = Surroundings {
            env: &self.world.env,
            http: self.services.http(),
            clock: self.world.clock.clone(),
            base: &self.project.root,
            embedders: &|alias| self.services.embedder(alias),
        };
        let built = (info.build)(options, &around)?;
        let mut digester = Digester::new()
            .part("scorer", info.name.as_bytes())
            .part("version", info.version.as_bytes())
            .part("options", canonical_json(options).as_bytes());
        if let Some(digest) = &built.digest {
            digester.add("outside", digest.as_str().as_bytes());
        }
        let told = GraderInfo {
            name: config.name.clone(),
            kind: GraderKind::Scorer,
            component: info.name.to_owned(),
            version: info.version.to_owned(),
            digest: digester.finish(),
            scale: built.scale,
            direction: built.direction,
            draws: 1,
            model: built.model,
        };
        Ok((told, built.grade))
    }

    fn scorer(&mut self, config: &GraderConfig, name: &str, options: &Value) -> Option<Grader> {
        let built = scorer::find(name).ok_or_else(|| no_such("scorer", name));
        let built = built.and_then(|info| {
            let scorer = (info.build)(options)?;
            Ok((
                info,
                match &config.on {
                    Some(choice) => Box::new(scorer::OnSpans::new(scorer, choice.clone())?) as Box<dyn scorer::Scorer>,
                    None => scorer,
                },
            ))
        });
        let (info, scorer) = built.map_err(|message| self.faults.add(&config.pointer, message)).ok()?;
        let mut digester = Digester::new()
            .part("scorer", info.name.as_bytes())
            .part("version", info.version.as_bytes())
            .part("options", canonical_json(options).as_bytes());
        for inside in scorer.inside() {
            digester.add("inside", inside.as_bytes());
        }
        let digest = digester.finish();
        let mut info = GraderInfo {
            name: config.name.clone(),
            kind: GraderKind::Scorer,
            component: info.name.to_owned(),
            version: info.version.to_owned(),
            digest,
            scale: scorer.scale(),
            direction: scorer.direction(),
            draws: 1,
            model: None,
        };
        if let Some(choice) = &config.on {
            info.digest = judge::digest_on(&info, choice);
        }
        Some(Grader { info, work: Work::Scorer(scorer) })
    }
}

/// The rubric of a judge by its name.
pub fn judge_spec(project: &Project, name: &str) -> Result<JudgeSpec, String> {
    let folder = project.path(&project.config.judges);
    let files = judge::find(name, Some(&folder)).map_err(|error| error.to_string())?;
    files.parse().map_err(|problems| judge::CatalogueError::wrong(name, problems).to_string())
}

/// The client and the model behind an alias, with what the judge asks of its model where the alias says nothing.
pub fn judge_model(services: &Services, alias: &str, spec: &JudgeSpec) -> Result<(Arc<Client>, JudgeModel), String> {
    let handle = services.model(alias)?;
    let mut parameters = JudgeModel::of_defaults(handle.model.clone(), spec);
    parameters.temperature = handle.temperature.or(parameters.temperature);
    parameters.max_tokens = handle.max_tokens.unwrap_or(parameters.max_tokens);
    parameters.seed = handle.seed.or(parameters.seed);
    parameters.extra = handle.extra.clone();
    Ok((handle.client.clone(), parameters))
}

/// A judge with its model, by their names, on its own labelled examples: those are also what it is shown, where it wants
/// worked examples.
pub fn load_judge(project: &Project, services: &Services, name: &str, model: &str) -> Result<Judge, String> {
    let spec = judge_spec(project, name)?;
    let (client, model) = judge_model(services, model, &spec)?;
    let shots = spec.few_shot.map(|few| Shots::of(&spec, few, &Labelled::of_spec(&spec)));
    let judge = Judge::new(Arc::new(spec), client, model);
    Ok(shots.into_iter().fold(judge, Judge::with_shots))
}

/// Judges on the spans that their grader chooses, where it does.
fn on_spans(built: Vec<Built>, config: &GraderConfig) -> Result<Vec<Built>, String> {
    let Some(choice) = &config.on else { return Ok(built) };
    let wrap = |(info, judge): Built| {
        let (info, judge) = JudgeOnSpans::new(judge, info, choice.clone())?;
        Ok((info, Arc::new(judge) as Arc<dyn Grade>))
    };
    built.into_iter().map(wrap).collect()
}

/// Never said of a project that was read whole; better than a panic if that ever changes.
fn no_such(what: &str, name: &str) -> String {
    format!("no {what} `{name}`")
}
