//! The table of providers: which servers are known by name, and how each is built.

use std::path::Path;
use std::sync::Arc;

use super::anthropic::Anthropic;
use super::endpoint::{KeyHeader, wire};
use super::openai::OpenAi;
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
    chat("deepseek", "DeepSeek, by chat completions", "https://api.deepseek.com/v1", Some("DEEPSEEK_API_KEY")),
    chat(
        "gemini",
        "Google's Gemini API, by its chat completions interface",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        Some("GEMINI_API_KEY"),
    ),
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
    no_cassette(options, context)?;
    let wire = wire(info, options, context, &["chat", "completions"], KeyHeader::Bearer)?;
    Ok(Arc::new(OpenAi::new(wire)))
}

fn build_anthropic(
    info: &ProviderInfo,
    options: &EndpointOptions,
    context: &BuildContext<'_>,
) -> Result<Arc<dyn ChatModel>, ProviderError> {
    no_cassette(options, context)?;
    let mut wire = wire(info, options, context, &["v1", "messages"], KeyHeader::XApiKey)?;
    if !wire.headers.contains_key("anthropic-version") {
        let version = header("anthropic-version", &"2023-06-01".into());
        wire.headers.extend(version.ok().map(|(name, value)| (Some(name), value)));
    }
    Ok(Arc::new(Anthropic::new(wire)))
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

fn no_cassette(options: &EndpointOptions, context: &BuildContext<'_>) -> Result<(), ProviderError> {
    match &options.cassette {
        None => Ok(()),
        Some(_) => Err(ProviderError::BadOption {
            endpoint: context.endpoint.to_owned(),
            cause: "`cassette` belongs to provider `replay` only; remove it, or set `provider = \"replay\"`".to_owned(),
        }),
    }
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
                let context = BuildContext { endpoint: "e", env: &env, http: &http, clock, base: folder.path() };
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
