//! Setting a client up.

use std::sync::Arc;
use std::time::Duration;

use super::hedging::Hedging;
use super::{Client, Counters, Hedge, Thrift};
use crate::model::Usage;
use crate::provider::flight::Flights;
use crate::provider::limits::Gate;
use crate::provider::{CacheUse, ChatModel, Limits, Recorder, ReplyCache};
use crate::sys::RetryPolicy;

/// The price in US dollars of a call: model name and tokens to money, `None` when not known.
pub type PriceFn = Arc<dyn Fn(&str, &Usage) -> Option<f64> + Send + Sync>;

/// How long one ask may take, from its first attempt to the start of its last.
const DEADLINE: Duration = Duration::from_secs(600);

/// Sets a client up.
pub struct ClientBuilder {
    model: Arc<dyn ChatModel>,
    endpoint: String,
    retry: RetryPolicy,
    deadline: Duration,
    limits: Limits,
    cache: Option<(Arc<ReplyCache>, CacheUse)>,
    recorder: Option<Arc<Recorder>>,
    price: Option<PriceFn>,
    hedging: Option<Hedging>,
}

impl ClientBuilder {
    /// Name of the endpoint in the configuration.
    #[must_use]
    pub fn endpoint(mut self, name: impl Into<String>) -> Self {
        self.endpoint = name.into();
        self
    }

    /// When failed attempts are repeated, and the time limit of each.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// How long one ask may take, from its first attempt to the start of its last; ten minutes when not set.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How much the endpoint bears.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where answers are kept. Models that answer from a recording never use it.
    #[must_use]
    pub fn cache(mut self, cache: Arc<ReplyCache>, cache_use: CacheUse) -> Self {
        self.cache = Some((cache, cache_use));
        self
    }

    /// Where answers are written down for `replay`; those from the cache too, so that the cassette is complete.
    #[must_use]
    pub fn recorder(mut self, recorder: Arc<Recorder>) -> Self {
        self.recorder = Some(recorder);
        self
    }

    /// What calls cost.
    #[must_use]
    pub fn price(mut self, price: PriceFn) -> Self {
        self.price = Some(price);
        self
    }

    /// When a second request is sent because the first is slow; none while money is short.
    #[must_use]
    pub fn hedge(mut self, hedge: &Hedge, thrift: Thrift) -> Self {
        self.hedging = Some(Hedging::new(hedge, thrift));
        self
    }

    /// The client.
    pub fn build(self) -> Client {
        let recorded = self.model.knows("").is_some();
        Client {
            endpoint: self.endpoint,
            retry: self.retry,
            deadline: self.deadline,
            gate: Gate::new(self.limits),
            cache: self.cache.filter(|_| !recorded),
            recorder: self.recorder,
            price: self.price,
            hedging: self.hedging.filter(|_| !recorded),
            flights: Flights::new(),
            counters: Counters::default(),
            model: self.model,
        }
    }
}

impl Client {
    /// A client of a wire format with nothing around it: one attempt, no cache, no price.
    pub fn new(model: Arc<dyn ChatModel>) -> Self {
        Self::builder(model).retry(RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }).build()
    }

    /// A client to be set up; the default retry policy and limits hold where nothing else is said.
    pub fn builder(model: Arc<dyn ChatModel>) -> ClientBuilder {
        ClientBuilder {
            model,
            endpoint: String::new(),
            retry: RetryPolicy::default(),
            deadline: DEADLINE,
            limits: Limits::default(),
            cache: None,
            recorder: None,
            price: None,
            hedging: None,
        }
    }
}
