//! One short function per verb: typed words to a use case, its result to the printer.

use serde_json::{Value, json};

use super::args::{
    BlessArgs, CiArgs, Cli, CompareArgs, DatasetVerb, DemoArgs, IngestArgs, JudgeVerb, RunArgs, RunHow, RunsArgs,
    SchemaArgs, TracesVerb, Verb,
};
use super::print::Printer;
use super::{calibrated, dataset, dataset_edit, decided, ingested, labels, lake, progress, query, sample, show};
use crate::model::RunHeader;
use crate::ops::compare::{Compared, Viewed};
use crate::ops::decide::Until;
use crate::ops::run::{How, Planned, RunDone, Watch};
use crate::ops::{
    Done, Exit, Project, World, bless, ci, compare, datasets, demo, doctor, ingest, init, judges, run, schema, traces,
};
use crate::report::{Material, Subject, TerminalStyle, terminal};
use crate::runner::{Control, Listener};
use crate::sys::text::one_line;

/// Carries out a verb.
pub async fn run(cli: Cli, project: Done<Project>, world: &World, printer: &Printer) -> Done<Exit> {
    match cli.verb {
        // Verbs that need no project, so that a broken one is no obstacle.
        Verb::Demo(args) => return verb_demo(&args, world, printer).await,
        Verb::Init(args) => {
            let done = init::init(&world.here.join(&args.dir))?;
            printer.result(&done, || show::started(&done))?;
            return Ok(Exit::Pass);
        }
        Verb::Schema(args) => return verb_schema(&args, printer),
        _ => {}
    }
    let project = project?;
    match cli.verb {
        Verb::Serve(args) => super::serve::run(&project, world, args, printer).await,
        Verb::Ingest(args) => verb_ingest(&project, world, args, printer).await,
        Verb::Sample(args) => sample::run(&project, world, *args, printer).await,
        Verb::Dataset(verb) => verb_dataset(&project, world, verb, printer),
        Verb::Labels(verb) => labels::run(&project, world, verb, printer),
        Verb::Run(args) => verb_run(&project, world, args, printer).await,
        Verb::Runs(args) => verb_runs(&project, world, &args, printer).await,
        Verb::Compare(args) => verb_compare(&project, world, args, printer).await,
        Verb::Outcomes(args) => super::outcomes::run(&project, world, *args, printer).await,
        Verb::Ci(args) => verb_ci(&project, world, args, printer).await,
        Verb::Versus(args) => super::versus::run(&project, world, args, printer).await,
        Verb::Plan(args) => super::plan::run(&project, world, args, printer).await,
        Verb::Flaky(verb) => super::flaky::run(&project, world, verb, printer).await,
        Verb::Drift(args) => super::drift::run(&project, world, args, printer).await,
        Verb::Push(args) => super::push::run(&project, world, args, printer).await,
        Verb::Bundle(verb) => super::bundle::run(&project, world, verb, printer).await,
        Verb::Bless(args) => verb_bless(&project, world, args, printer).await,
        Verb::Report(args) => super::report::run(&project, world, args, printer).await,
        Verb::Judge(verb) => verb_judge(&project, world, verb, printer).await,
        Verb::Traces(verb) => verb_traces(&project, world, verb, printer).await,
        Verb::Selftest(args) => super::selftest::run(&project, world, args, printer).await,
        Verb::Lake(verb) => lake::verb(&project, world, verb, printer).await,
        Verb::Cache(verb) => super::cache::verb(&project, world, verb, printer).await,
        Verb::Doctor(args) => {
            let (looks, exit) = doctor::doctor(&project, world, args.offline).await?;
            printer.result(&looks, || show::looks(&looks))?;
            Ok(exit)
        }
        Verb::Demo(_) | Verb::Init(_) | Verb::Schema(_) | Verb::Completions { .. } | Verb::Man { .. } => Ok(Exit::Pass),
    }
}

fn verb_schema(args: &SchemaArgs, printer: &Printer) -> Done<Exit> {
    match &args.name {
        Some(name) => {
            let schema = schema::schema(name)?;
            printer.text(&serde_json::to_string_pretty(&schema).map_err(crate::ops::Failed::instrument)?)?;
        }
        None => {
            let names = schema::names();
            printer.result(&names, || names.join("\n"))?;
        }
    }
    Ok(Exit::Pass)
}

async fn verb_ingest(project: &Project, world: &World, args: IngestArgs, printer: &Printer) -> Done<Exit> {
    if args.rejected {
        let rejects = ingest::rejects(project, world, args.rejected_file.as_deref())?;
        printer.result(&rejects, || ingested::rejected(&rejects))?;
        return Ok(Exit::Pass);
    }
    let pull = ingest::PullHow { since: args.since, until: args.until, limit: args.limit, restart: args.restart };
    let ask = ingest::Ask {
        sources: args.sources,
        format: Some(args.format).filter(|format| format != "auto"),
        map: args.map,
        rejected: args.rejected_file,
        pull,
        no_redact: args.no_redact,
    };
    let progress = progress::Pulling::new(printer.quiet);
    let note = |text: &str| printer.note(text);
    let done = ingest::ingest(project, world, ask, &note, &|at| progress.show(at)).await;
    progress.finish();
    let report = done?;
    report.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
    printer.result(&report, || ingested::ingested(&report))?;
    if report.pulls.iter().any(|pull| pull.stopped.is_some()) {
        return Ok(Exit::Instrument);
    }
    if report.interrupted {
        return Ok(Exit::Interrupted);
    }
    // What could not be used, in whole or from some place on, is the user's to mend, though the others went in.
    let nothing = report.spans == 0 && report.scores == 0 && report.rejected > 0;
    Ok(if report.unusable.is_empty() && report.cut_off == 0 && !nothing { Exit::Pass } else { Exit::Usage })
}

fn verb_dataset(project: &Project, world: &World, verb: DatasetVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        DatasetVerb::Ls => {
            let headers = datasets::list(project)?;
            printer.result(&headers, || dataset::list(&headers))?;
        }
        DatasetVerb::Show { dataset: wanted, examples } => {
            let shown = datasets::show(project, &wanted, examples)?;
            printer.result(&shown, || dataset::shown(&shown))?;
        }
        DatasetVerb::Diff { from, to } => {
            let diff = datasets::diff(project, &from, &to)?;
            printer.result(&diff, || dataset::differs(&diff))?;
        }
        DatasetVerb::Import { name, files, format, map, fields, description, redact, thaw } => {
            let ask = datasets::ImportAsk { name, files, format, map, fields, description, redact, thaw };
            let done = datasets::import(project, world, ask)?;
            done.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
            printer.result(&done, || dataset::imported(&done))?;
            // As with traces: a file that could not be used is the user's to mend, though the others went in.
            return Ok(if done.unusable.is_empty() { Exit::Pass } else { Exit::Usage });
        }
        DatasetVerb::Edit(verb) => return dataset_edit::run(project, world, verb, printer),
    }
    Ok(Exit::Pass)
}

pub(super) fn how(args: RunHow) -> How {
    How {
        target: args.target,
        trials: args.trials,
        limit: args.limit,
        shard: args.shard,
        dry_run: args.dry_run,
        max_cost: args.max_cost,
        judge_share: args.judge_share,
        no_cache: args.no_cache,
        record: args.record,
        tags: args.tags,
        until_decided: args.until_decided.then(Until::default),
        anyway: args.anyway,
    }
}

/// Makes what watches a run and calls `with` with it; Ctrl-C stops the run, a second one gives it up.
pub(super) async fn watched<T>(printer: &Printer, with: impl AsyncFnOnce(&Watch<'_>) -> T) -> T {
    let control = Control::new();
    let quiet = printer.quiet;
    let on_plan = |planned: &Planned| printer.note(&show::plan(planned));
    let listeners = move |_: &RunHeader| -> Vec<Box<dyn Listener>> { progress::listeners(quiet, None) };
    let watch = Watch { on_plan: &on_plan, listeners: &listeners, control: control.clone() };
    let interrupts = async {
        while tokio::signal::ctrl_c().await.is_ok() {
            if control.is_stopped() {
                printer.note("Giving up what is running.");
            } else {
                printer.note("Stopping: finishing what is running. Press Ctrl-C again to give that up.");
            }
            control.stop();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        done = with(&watch) => done,
        () = interrupts => unreachable!("waits for ever"),
    }
}

fn style(printer: &Printer) -> TerminalStyle {
    TerminalStyle { color: printer.color, ascii: printer.ascii, width: printer.width }
}

pub(super) fn viewed_text(viewed: &Viewed, world: &World, printer: &Printer) -> String {
    let subject = Subject::Run(&viewed.view);
    let made_at = world.clock.now();
    terminal(&Material { subject, details: &viewed.details, made_at, places: None }, style(printer))
}

fn compared_text(compared: &Compared, world: &World, printer: &Printer) -> String {
    let subject = Subject::Comparison(&compared.comparison);
    let made_at = world.clock.now();
    terminal(&Material { subject, details: &compared.details, made_at, places: None }, style(printer))
}

pub(super) fn reports_to_stdout(written: &[crate::ops::Written], printer: &Printer) -> Done<bool> {
    let mut any = false;
    for report in written {
        match (&report.text, &report.path) {
            (Some(text), _) => {
                any = true;
                printer.bytes(text)?;
            }
            (None, Some(path)) => printer.note(&format!("{} report: {}", report.form, path.display())),
            (None, None) => {}
        }
    }
    Ok(any)
}

fn run_json(done: &RunDone) -> Value {
    json!({
        "format": 1,
        "run": done.run,
        "plan": done.planned,
        "view": done.viewed.as_ref().map(|viewed| &viewed.view),
        "stop": done.stop,
        "decision": done.decision,
        "warnings": done.warnings,
        "reports": done.viewed.as_ref().map(|viewed| &viewed.written),
        "exit": done.exit.code(),
    })
}

fn after_run(done: &RunDone, printer: &Printer) {
    for warning in &done.warnings {
        printer.note(&format!("warning: {warning}"));
    }
    if let (Some(stop), Some(run)) = (&done.stop, &done.run) {
        printer.note(&show::stopped(stop, run));
    }
    if let (Some(decision), Some(run)) = (&done.decision, &done.run) {
        printer.note(&decided::decided(decision, run));
    }
}

async fn verb_run(project: &Project, world: &World, args: RunArgs, printer: &Printer) -> Done<Exit> {
    let mut how = how(args.how);
    if let Some(until) = &mut how.until_decided {
        until.baseline = args.baseline;
    }
    let ask = run::Ask {
        suite: args.suite,
        how,
        resume: args.resume,
        force: args.force,
        reports: args.reports,
        compared: false,
    };
    let done = watched(printer, async |watch| run::run(project, world, ask, watch).await).await?;
    after_run(&done, printer);
    let on_stdout = match &done.viewed {
        Some(viewed) => reports_to_stdout(&viewed.written, printer)?,
        None => false,
    };
    if !on_stdout {
        printer.result(&run_json(&done), || match &done.viewed {
            Some(viewed) => viewed_text(viewed, world, printer),
            None => String::new(),
        })?;
    }
    Ok(done.exit)
}

async fn verb_runs(project: &Project, world: &World, args: &RunsArgs, printer: &Printer) -> Done<Exit> {
    let runs = bless::runs(project, world, args.suite.as_deref(), args.limit).await?;
    printer.result(&runs, || show::runs(&runs))?;
    Ok(Exit::Pass)
}

pub(super) fn print_comparison(compared: &Compared, world: &World, printer: &Printer, extra: Value) -> Done<()> {
    if reports_to_stdout(&compared.written, printer)? {
        return Ok(());
    }
    let mut json = json!({
        "format": 1,
        "comparison": compared.comparison,
        "reports": compared.written,
        "exit": compared.exit.code(),
    });
    if let (Some(map), Value::Object(extra)) = (json.as_object_mut(), extra) {
        map.extend(extra);
    }
    printer.result(&json, || compared_text(compared, world, printer))
}

async fn verb_compare(project: &Project, world: &World, args: CompareArgs, printer: &Printer) -> Done<Exit> {
    if !args.others.is_empty() {
        let runs: Vec<String> = [args.baseline, args.candidate].into_iter().chain(args.others).collect();
        let suite = args.suite.as_deref();
        let ask = crate::ops::matrix::Ask { runs: &runs, suite, allow: &args.allow, reports: &args.reports };
        return super::matrix::run(project, world, ask, printer).await;
    }
    let ask = compare::Ask {
        baseline: &args.baseline,
        candidate: &args.candidate,
        suite: args.suite.as_deref(),
        allow: &args.allow,
        reports: &args.reports,
    };
    let compared = compare::compare(project, world, ask).await?;
    print_comparison(&compared, world, printer, Value::Null)?;
    Ok(compared.exit)
}

async fn verb_ci(project: &Project, world: &World, args: CiArgs, printer: &Printer) -> Done<Exit> {
    let ask = ci::Ask {
        suite: args.suite,
        how: how(args.how),
        baseline: args.baseline,
        bundles: args.bundles,
        export: args.export,
        allow: args.allow,
        reports: args.reports,
    };
    let on_baseline = |told: &str| printer.note(&format!("Baseline: {}", one_line(told, 600)));
    let done = watched(printer, async |watch| ci::ci(project, world, ask, (watch, &on_baseline)).await).await?;
    after_run(&done.candidate, printer);
    done.warnings.iter().for_each(|warning| printer.note(&format!("warning: {warning}")));
    if let Some(annotations) = &done.annotations {
        super::print::to_stderr(annotations.trim_end());
    }
    match &done.compared {
        Some(compared) => {
            let extra = json!({ "run": done.candidate.run, "baseline_chosen": done.told, "exit": done.exit.code() });
            print_comparison(compared, world, printer, extra)?;
        }
        None => printer.result(&run_json(&done.candidate), || match &done.candidate.viewed {
            Some(viewed) => viewed_text(viewed, world, printer),
            None => String::new(),
        })?,
    }
    Ok(done.exit)
}

async fn verb_bless(project: &Project, world: &World, args: BlessArgs, printer: &Printer) -> Done<Exit> {
    let ask = bless::Ask { run: args.run, reason: args.reason, by: args.by, suite: args.suite };
    let baseline = bless::bless(project, world, ask).await?;
    printer.result(&baseline, || show::blessed(&baseline))?;
    Ok(Exit::Pass)
}

async fn verb_judge(project: &Project, world: &World, verb: JudgeVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        JudgeVerb::Ls => {
            let list = judges::list(project)?;
            printer.result(&list, || super::judges::list(&list, printer.width))?;
        }
        JudgeVerb::Show { judge } => {
            let full = judges::show(project, &judge)?;
            printer.result(&full, || super::judges::full(&full, printer.width))?;
        }
        JudgeVerb::Check { judges: names } => {
            let (checked, exit) = judges::check(project, &names)?;
            printer.result(&checked, || show::checked(&checked))?;
            return Ok(exit);
        }
        JudgeVerb::Calibrate { trial, run } => {
            let done = judges::calibrate(project, world, &trial.ask(run)).await?;
            printer.result(&done, || calibrated::calibration(&done))?;
        }
        JudgeVerb::Trial(verb) => return super::judge_trials::run(project, world, verb, printer).await,
    }
    Ok(Exit::Pass)
}

async fn verb_traces(project: &Project, world: &World, verb: TracesVerb, printer: &Printer) -> Done<Exit> {
    match verb {
        TracesVerb::Ls { filter, errors, since, limit } => {
            let ask = traces::ListAsk { filter, errors, since, limit };
            let rows = traces::list(project, world, &ask)?;
            match rows.is_empty() && !printer.json {
                true => printer.text(&traces::why_none(project, world, &ask)?)?,
                false => printer.result(&rows, || super::trace::traces(&rows))?,
            }
        }
        TracesVerb::Cost(args) => return super::cost::run(project, world, args, printer),
        TracesVerb::Diagnose(args) => return super::diagnose::run(project, world, args, printer),
        TracesVerb::Show { trace } => {
            let shown = traces::show(project, world, &trace)?;
            printer.result(&shown, || super::trace::trace(&shown, printer.ascii))?;
        }
        TracesVerb::Replay(args) => return super::replay::run(project, world, *args, printer).await,
        TracesVerb::Query(args) => return query::verb(project, world, args, printer),
        TracesVerb::Tables => return query::tables(printer),
    }
    Ok(Exit::Pass)
}

async fn verb_demo(args: &DemoArgs, world: &World, printer: &Printer) -> Done<Exit> {
    let done = watched(printer, async |watch| demo::demo(world, &args.dir, watch).await).await?;
    let json = json!({
        "format": 1,
        "folder": done.folder,
        "ingested": done.ingested,
        "sampled": done.sampled,
        "runs": done.runs.iter().map(|run| &run.run).collect::<Vec<_>>(),
        "comparison": done.compared.comparison,
        "report": done.report,
    });
    printer.result(&json, || show::demo(&done, &compared_text(&done.compared, world, printer)))?;
    // The demo's gate fails on purpose, and that is success; without a verdict it did not show what it should.
    Ok(if done.compared.comparison.instrument_failed { Exit::Instrument } else { Exit::Pass })
}
