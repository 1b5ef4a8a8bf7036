//! The model services of a project, set up when something first asks for them: a run that asks no model needs no key.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::collect::Collectors;
use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::provider::{
    self, CacheUse, ChatModel, Client, ClientStats, Embedder, EndpointOptions, ModelHandle, Recorder, ReplyCache,
    Thrift,
};
use crate::runner::Lost;
use crate::sys::{self, RetryPolicy};

/// Clients by provider name, with what they share.
pub struct Services {
    project: Project,
    world: World,
    http: reqwest::Client,
    cache: Arc<ReplyCache>,
    cache_use: CacheUse,
    recorder: Option<Arc<Recorder>>,
    thrift: Thrift,
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
    collectors: Collectors,
}

impl Services {
    /// Opens cache and recording; makes no client yet.
    pub async fn open(project: &Project, world: &World, no_cache: bool, record: Option<&PathBuf>) -> Done<Self> {
        let http = sys::http_client().map_err(Failed::instrument)?;
        let path = project.path(&project.config.cache);
        let cache = ReplyCache::open_or_off(&path, world.clock.clone()).await;
        let recorder = match record {
            Some(file) => Some(Arc::new(Recorder::open(&world.here.join(file)).map_err(Failed::usage)?)),
            None => None,
        };
        Ok(Self {
            project: project.clone(),
            world: world.clone(),
            http,
            cache: Arc::new(cache),
            cache_use: if no_cache { CacheUse::Refresh } else { CacheUse::ReadWrite },
            recorder,
            thrift: Thrift::default(),
            clients: Mutex::new(BTreeMap::new()),
            collectors: Collectors::default(),
        })
    }

    /// The HTTP client they share.
    pub fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Receivers of spans that targets of this command share.
    pub(super) fn collectors(&self) -> &Collectors {
        &self.collectors
    }

    /// A model of the configuration, ready to be asked; says why there is none.
    pub fn model(&self, alias: &str) -> Result<ModelHandle, String> {
        let known = || self.project.config.models.keys().cloned().collect::<Vec<_>>().join(", ");
        let config =
            self.project.config.models.get(alias).ok_or_else(|| format!("no model `{alias}`; there is {}", known()))?;
        let mut handle = ModelHandle::new(self.client(&config.provider)?, config.model.clone());
        handle.temperature = config.temperature;
        handle.max_tokens = config.max_tokens;
        handle.seed = config.seed;
        handle.extra = config.extra.clone();
        Ok(handle)
    }

    /// A model of the configuration that embeds texts, ready to be asked; says why there is none.
    pub fn embedder(&self, alias: &str) -> Result<ModelHandle, String> {
        let known = || self.project.config.models.keys().cloned().collect::<Vec<_>>().join(", ");
        let config =
            self.project.config.models.get(alias).ok_or_else(|| format!("no model `{alias}`; there is {}", known()))?;
        let name = format!("{} (embeddings)", config.provider);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let client = match clients.get(&name) {
            Some(client) => client.clone(),
            None => {
                let made = self.make(&config.provider, |kind, options, context| {
                    let embedder = Embedder::new(kind, options, context).map_err(|error| error.to_string())?;
                    Ok(Arc::new(embedder) as Arc<dyn ChatModel>)
                });
                let made = Arc::new(made?);
                clients.insert(name, made.clone());
                made
            }
        };
        Ok(ModelHandle::new(client, config.model.clone()))
    }

    /// The client of a provider; the same one each time, so that its limits hold for all who ask.
    pub fn client(&self, name: &str) -> Result<Arc<Client>, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(name) {
            return Ok(client.clone());
        }
        let client =
            Arc::new(self.make(name, |kind, options, context| {
                options.build(kind, context).map_err(|error| error.to_string())
            })?);
        clients.insert(name.to_owned(), client.clone());
        Ok(client)
    }

    fn make(
        &self,
        name: &str,
        model: impl FnOnce(&str, &EndpointOptions, &provider::BuildContext<'_>) -> Result<Arc<dyn ChatModel>, String>,
    ) -> Result<Client, String> {
        let config = self.project.config.providers.get(name).ok_or_else(|| format!("no provider `{name}`"))?;
        let options: EndpointOptions = serde_json::from_value(serde_json::Value::Object(config.options.clone()))
            .map_err(|error| format!("provider `{name}`: {error}"))?;
        let state = self.project.state_folder();
        let context = provider::BuildContext {
            endpoint: name,
            env: &self.world.env,
            http: &self.http,
            clock: self.world.clock.clone(),
            base: &self.project.root,
            state: &state,
        };
        let model = model(&config.kind, &options, &context)?;
        let retry = RetryPolicy {
            max_attempts: config.max_attempts,
            attempt_timeout: config.timeout,
            ..RetryPolicy::default()
        };
        let prices = self.project.config.prices.clone();
        let mut builder = Client::builder(model)
            .endpoint(name)
            .retry(retry)
            .limits(options.limits())
            .cache(self.cache.clone(), self.cache_use)
            .price(Arc::new(move |model, usage| prices.cost(model, usage)));
        if let Some(hedge) = &options.hedge {
            builder = builder.hedge(hedge, self.thrift.clone());
        }
        if let Some(recorder) = &self.recorder {
            builder = builder.recorder(recorder.clone());
        }
        Ok(builder.build())
    }

    /// Clients in use, by name.
    pub fn clients(&self) -> Vec<(String, Arc<Client>)> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.iter().map(|(name, client)| (name.clone(), client.clone())).collect()
    }

    /// How the clients learn that money is short.
    pub fn thrift(&self) -> Thrift {
        self.thrift.clone()
    }

    /// What stands in no total and was, or may have been, billed: answers of no use, and requests dropped for a faster
    /// twin at the twin's price. Told anew each time it is asked for.
    pub fn lost(&self) -> Lost {
        let clients: Vec<Arc<Client>> = self.clients().into_iter().map(|(_, client)| client).collect();
        let of = |client: &Arc<Client>| {
            let stats = client.stats();
            stats.lost.cost_usd + stats.dropped.cost_usd
        };
        Lost::told_by(move || clients.iter().map(of).sum())
    }

    /// Whether some client in use answers in batches.
    pub fn waits_long(&self) -> bool {
        self.clients().iter().any(|(_, client)| client.waits_long())
    }

    /// What went wrong beside the answers: a cache that could not be used, a recording that could not be written,
    /// answers that were billed and of no use (a failure carries no spend, so totals do not hold theirs).
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self.cache.warning().into_iter().collect();
        for (name, client) in self.clients() {
            warnings.extend(client.warnings());
            let stats = client.stats();
            warnings.extend(dropped_words(&name, &stats));
            let lost = stats.lost;
            if lost.calls > 0 {
                warnings.push(format!(
                    "{} answers of `{name}` were billed and could not be used: ${:.4} that the totals do not hold",
                    lost.calls, lost.cost_usd
                ));
            }
        }
        warnings
    }
}

/// What became of requests that were dropped for a faster twin; `None` where there was none.
fn dropped_words(name: &str, stats: &ClientStats) -> Option<String> {
    let ClientStats { hedged, dropped, .. } = stats;
    let money = match dropped.unpriced_calls {
        0 => format!("up to ${:.4}", dropped.cost_usd),
        _ => "an unknown sum".to_owned(),
    };
    (dropped.calls > 0).then(|| {
        format!(
            "{hedged} questions to `{name}` were sent a second time because they were slow; {} requests were dropped \
             for a faster answer and may be billed all the same: {money} that the totals do not hold",
            dropped.calls
        )
    })
}
