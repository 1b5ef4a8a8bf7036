//! The table of providers: which servers are known by name, and how each is built.

use std::path::Path;
use std::sync::Arc;

use super::anthropic::Messages;
use super::batch::{AnthropicBatches, BatchService, Batched, OpenAiBatches};
use super::bedrock::Converse;
use super::command::Program;
use super::endpoint::{KeyHeader, wire};
use super::gemini::GenerateContent;
use super::openai::ChatCompletions;
use super::responses::Responses;
use super::speaker::{Format, Speaker};
use super::wire::Wire;
use super::{BuildContext, Cassette, ChatModel, EndpointOptions, ProviderError, Replay};
use crate::sys::header;

/// Builds a provider from its row, an endpoint's options and what is around it.
pub type BuildProvider =
    fn(&ProviderInfo, &EndpointOptions, &BuildContext<'_>) -> Result<Arc<dyn ChatModel>, ProviderError>;

/// One row of the table of providers.
pub struct ProviderInfo {
    /// Name in the configuration: `provider = "NAME"`.
    pub name: &'static str,
    /// One sentence for help and the reference.
    pub summary: &'static str,
    /// Address when the endpoint names none; `None` when there is no server, or none that could be guessed.
    pub base_url: Option<&'static str>,
    /// Variable that holds the key when the endpoint names none; `None` when no key is needed.
    pub key_variable: Option<&'static str>,
    /// A working set of options as TOML, one `key = value` per line; empty when it needs none.
    pub sample: &'static str,
    /// Builds it.
    pub build: BuildProvider,
}

/// All providers, sorted by name.
pub const PROVIDERS: &[ProviderInfo] = &[
    ProviderInfo {
        name: "anthropic",
        summary: "Anthropic's messages API; structured answers by a forced tool call",
        base_url: Some("https://api.anthropic.com"),
        key_variable: Some("ANTHROPIC_API_KEY"),
        sample: "max_concurrency = 8",
        build: build_anthropic,
    },
    ProviderInfo {
        name: "azure",
        summary: "OpenAI's models at Azure; `base_url` is the resource's, the model its deployment",
        base_url: None,
        key_variable: Some("AZURE_OPENAI_API_KEY"),
        sample: "base_url = \"https://RESOURCE.openai.azure.com/openai/v1\"",
        build: build_azure,
    },
    ProviderInfo {
        name: "bedrock",
        summary: "Amazon Bedrock (Converse), opened by a Bedrock API key",
        base_url: None,
        key_variable: Some("AWS_BEARER_TOKEN_BEDROCK"),
        sample: "base_url = \"https://bedrock-runtime.us-east-1.amazonaws.com\"",
        build: build_bedrock,
    },
    ProviderInfo {
        name: "command",
        summary: "a program of yours: the question as JSON on stdin, the answer on stdout",
        base_url: None,
        key_variable: None,
        sample: "command = [\"python3\", \"judge.py\"]",
        build: build_command,
    },
    chat("deepseek", "DeepSeek, by chat completions", "https://api.deepseek.com/v1", Some("DEEPSEEK_API_KEY")),
    ProviderInfo {
        name: "gemini",
        summary: "Google's Gemini API (generateContent)",
        base_url: Some("https://generativelanguage.googleapis.com"),
        key_variable: Some("GEMINI_API_KEY"),
        sample: "max_concurrency = 8",
        build: build_gemini,
    },
    chat("groq", "Groq, by chat completions", "https://api.groq.com/openai/v1", Some("GROQ_API_KEY")),
    chat("llamacpp", "a local llama.cpp server, by chat completions", "http://localhost:8080/v1", None),
    chat("mistral", "Mistral, by chat completions", "https://api.mistral.ai/v1", Some("MISTRAL_API_KEY")),
    chat("ollama", "a local Ollama server, by chat completions", "http://localhost:11434/v1", None),
    ProviderInfo {
        name: "openai",
        summary: "OpenAI, or with `base_url` any server that speaks chat completions",
        base_url: Some("https://api.openai.com/v1"),
        key_variable: Some("OPENAI_API_KEY"),
        sample: "base_url = \"https://api.openai.com/v1\"\nkey_env = \"OPENAI_API_KEY\"\nmax_concurrency = 16",
        build: build_chat,
    },
    ProviderInfo {
        name: "openai_responses",
        summary: "OpenAI's responses API; nothing is stored at the server",
        base_url: Some("https://api.openai.com/v1"),
        key_variable: Some("OPENAI_API_KEY"),
        sample: "max_concurrency = 16",
        build: build_responses,
    },
    chat("openrouter", "OpenRouter, by chat completions", "https://openrouter.ai/api/v1", Some("OPENROUTER_API_KEY")),
    ProviderInfo {
        name: "replay",
        summary: "answers recorded in a cassette: no server, no key, no cost, the same every time",
        base_url: None,
        key_variable: None,
        sample: "cassette = \"cassettes/judge.jsonl\"",
        build: build_replay,
    },
    chat("together", "Together, by chat completions", "https://api.together.xyz/v1", Some("TOGETHER_API_KEY")),
    chat("vllm", "a local vLLM server, by chat completions", "http://localhost:8000/v1", None),
    chat("xai", "xAI, by chat completions", "https://api.x.ai/v1", Some("XAI_API_KEY")),
];

/// Looks a provider up by name.
pub fn find(name: &str) -> Option<&'static ProviderInfo> {
    PROVIDERS.iter().find(|info| info.name == name)
}

/// A server that speaks chat completions.
const fn chat(
    name: &'static str,
    summary: &'static str,
    base_url: &'static str,
    key_variable: Option<&'static str>,
) -> ProviderInfo {
    ProviderInfo {
        name,
        summary,
        base_url: Some(base_url),
        key_variable,
        sample: "max_concurrency = 8",
        build: build_chat,
    }
}

fn build_chat(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let wire = wire(info, options, context, &["chat", "completions"], KeyHeader::Bearer)?;
    if info.name != "openai" {
        return speak::<ChatCompletions>(options, context, wire);
    }
    speak_or_batch::<ChatCompletions>(options, context, wire, |wire, takes| {
        Box::new(OpenAiBatches::<ChatCompletions>::new(wire, takes, "/v1/chat/completions"))
    })
}

fn build_azure(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    speak::<ChatCompletions>(
        options,
        context,
        wire(info, options, context, &["chat", "completions"], KeyHeader::ApiKey)?,
    )
}

fn build_responses(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let wire = wire(info, options, context, &["v1", "responses"], KeyHeader::Bearer)?;
    speak_or_batch::<Responses>(options, context, wire, |wire, takes| {
        Box::new(OpenAiBatches::<Responses>::new(wire, takes, "/v1/responses"))
    })
}

fn build_gemini(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let wire = wire(info, options, context, &["v1beta", "models"], KeyHeader::Google)?;
    speak::<GenerateContent>(options, context, wire)
}

fn build_bedrock(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    speak::<Converse>(options, context, wire(info, options, context, &[], KeyHeader::Bearer)?)
}

fn build_anthropic(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let mut wire = wire(info, options, context, &["v1", "messages"], KeyHeader::XApiKey)?;
    if !wire.headers.contains_key("anthropic-version") {
        let version = header("anthropic-version", &"2023-06-01".into());
        wire.headers.extend(version.ok().map(|(name, value)| (Some(name), value)));
    }
    speak_or_batch::<Messages>(options, context, wire, |wire, takes| Box::new(AnthropicBatches::new(wire, takes)))
}

fn build_command(
    _info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    Ok(Arc::new(Program::new(options, context)?))
}

/// A server of one wire format that takes no batches.
fn speak<F: Format>(
    options: &EndpointOptions,
    context: &BuildContext<'_>,
    wire: Wire,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    if options.batch {
        let cause = "`batch` is for `anthropic`, `openai` and `openai_responses`; remove it".to_owned();
        return Err(ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause });
    }
    let takes = known::<F>(&wire, options, context)?;
    Ok(Arc::new(Speaker::<F>::new(wire, takes)))
}

/// A server of one wire format, in batches where the options say so.
fn speak_or_batch<F: Format>(
    options: &EndpointOptions,
    context: &BuildContext<'_>,
    wire: Wire,
    service: impl FnOnce(Wire, F::Takes) -> Box<dyn BatchService>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let takes = known::<F>(&wire, options, context)?;
    let live: Arc<dyn ChatModel> = Arc::new(Speaker::<F>::new(wire.clone(), takes));
    if !options.batch {
        return Ok(live);
    }
    let file = context.state.join(format!("batches-{}.jsonl", context.endpoint));
    let batched = Batched::new(live, service(wire, takes), context.endpoint, file, options.pace);
    let bad = |cause| ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause };
    Ok(Arc::new(batched.map_err(bad)?))
}

/// What the models at an endpoint take, as far as it is configured.
fn known<F: Format>(
    wire: &Wire,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<F::Takes, ProviderError> {
    let bad = |cause: String| ProviderError::BadOption { endpoint: context.endpoint.to_owned(), cause };
    let foreign =
        [("cassette", options.cassette.is_some(), "replay"), ("command", !options.command.is_empty(), "command")];
    if let Some((name, _, provider)) = foreign.into_iter().find(|(_, given, _)| *given) {
        return Err(bad(format!("`{name}` belongs to `provider = \"{provider}\"`; remove it")));
    }
    let mut takes = F::top(wire);
    for name in &options.without {
        let known = "there are `temperature`, `seed`, `logprobs` and `structured`";
        takes = F::without(takes, name).ok_or_else(|| bad(format!("`without` has `{name}`; {known}")))?;
    }
    Ok(takes)
}

fn build_replay(
    _info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    let Some(path) = &options.cassette else {
        return Err(ProviderError::BadOption {
            endpoint: context.endpoint.to_owned(),
            cause: "`cassette` is missing: name the file of recorded answers".to_owned(),
        });
    };
    let cassette = Cassette::open(&context.base.join(Path::new(path)))
        .map_err(|cause| ProviderError::Cassette { endpoint: context.endpoint.to_owned(), cause })?;
    Ok(Arc::new(Replay::new(Arc::new(cassette))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{Env, SystemClock, http_client};

    #[test]
    fn the_table_is_sorted_and_its_samples_are_options() {
        let names: Vec<_> = PROVIDERS.iter().map(|info| info.name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for info in PROVIDERS {
            toml::from_str::<EndpointOptions>(info.sample).unwrap();
        }
    }

    #[test]
    fn every_server_of_the_table_can_be_built_and_names_a_missing_key() {
        let http = http_client().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for info in PROVIDERS.iter().filter(|info| info.base_url.is_some()) {
            let pairs: Vec<_> = info.key_variable.iter().map(|name| (*name, "sk-0123456789")).collect();
            let with_key = Env::of_pairs(&pairs);
            for (env, complete) in [(with_key, true), (Env::default(), info.key_variable.is_none())] {
                let clock = Arc::new(SystemClock);
                let context = BuildContext {
                    endpoint: "e",
                    env: &env,
                    http: &http,
                    clock,
                    base: folder.path(),
                    state: folder.path(),
                };
                match EndpointOptions::default().build(info.name, &context) {
                    Ok(_) => assert!(complete, "{}", info.name),
                    Err(error) => {
                        let text = error.to_string();
                        assert!(
                            !complete && text.contains(&format!("export {}=", info.key_variable.unwrap())),
                            "{text}"
                        );
                    }
                }
            }
        }
    }
}
