//! Asks a configured model for embeddings of inputs, some texts at a time, again when an attempt fails in passing.

use std::collections::HashMap;

use anyhow::anyhow;

use crate::dataset::Frame;
use crate::model::Failure;
use crate::ops::exit::{Done, Failed};
use crate::ops::project::{Project, World};
use crate::provider::{BuildContext, Embedder, EndpointOptions};
use crate::sys::{self, RetryPolicy};

/// Texts of one call.
const AT_ONCE: usize = 64;
/// Longest text that is sent, characters: what embedding models read at most is less than twice that.
const LONGEST: usize = 20_000;

/// Embeddings of the inputs of all candidates, by id.
pub async fn embed(
    project: &Project,
    world: &World,
    alias: Option<&str>,
    frame: &Frame,
) -> Done<HashMap<String, Vec<f32>>> {
    let alias = alias.ok_or_else(|| {
        Failed::usage(anyhow!(
            "embeddings need a model: name one of `[models]` with `--embedder`, or use `--diverse inputs`"
        ))
    })?;
    let known = || project.config.models.keys().cloned().collect::<Vec<_>>().join(", ");
    let model = project.config.models.get(alias);
    let model = model.ok_or_else(|| Failed::usage(anyhow!("no model `{alias}`; there is {}", known())))?;
    let config = project.config.providers.get(&model.provider);
    let config = config.ok_or_else(|| Failed::usage(anyhow!("no provider `{}`", model.provider)))?;
    let options: EndpointOptions =
        serde_json::from_value(serde_json::Value::Object(config.options.clone())).map_err(Failed::usage)?;
    let http = sys::http_client().map_err(Failed::instrument)?;
    let context = BuildContext {
        endpoint: &model.provider,
        env: &world.env,
        http: &http,
        clock: world.clock.clone(),
        base: &project.root,
        state: &project.state_folder(),
    };
    let embedder = Embedder::new(&config.kind, &options, &context).map_err(Failed::usage)?;
    let retry =
        RetryPolicy { max_attempts: config.max_attempts, attempt_timeout: config.timeout, ..RetryPolicy::default() };
    let texts: Vec<(&str, String)> =
        frame.texts().map(|(id, text)| (id, text.chars().take(LONGEST).collect())).collect();
    let mut vectors = HashMap::with_capacity(texts.len());
    for batch in texts.chunks(AT_ONCE) {
        let inputs: Vec<&str> = batch.iter().map(|(_, text)| text.as_str()).collect();
        let found = ask(&embedder, &model.model, &inputs, &retry).await;
        let found = found.map_err(|failure| Failed::instrument(anyhow!("{failure}")))?;
        vectors.extend(batch.iter().map(|(id, _)| (*id).to_owned()).zip(found));
    }
    Ok(vectors)
}

async fn ask(embedder: &Embedder, model: &str, inputs: &[&str], retry: &RetryPolicy) -> Result<Vec<Vec<f32>>, Failure> {
    let mut attempt = 1;
    loop {
        match embedder.embed(model, inputs, retry.attempt_timeout).await {
            Ok(found) => return Ok(found),
            // One caller alone: nobody comes back together with it, so its wait needs no jitter.
            Err(failure) => match retry.delay(attempt, &failure, 1.0) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(failure),
            },
        }
        attempt += 1;
    }
}
