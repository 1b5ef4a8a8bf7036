//! What stands around a target, from its configuration: hooks with their variables, the collector, the player of a user.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::project::{Project, World};
use super::services::Services;
use crate::config::{Around, RawConversation};
use crate::target::{Collector, Goals, Hooks, Staged, Staging, Talk, Target, User};

/// Turns of a conversation unless the configuration says otherwise.
const TURNS: u32 = 10;

/// Puts a target on its stage; the target itself where nothing stands around it.
pub(super) fn staged(
    target: Box<dyn Target>,
    around: &Around,
    project: &Project,
    world: &World,
    services: &Services,
) -> Result<Arc<dyn Target>, String> {
    if around.is_bare() {
        return Ok(Arc::from(target));
    }
    let hooks = match &around.hooks {
        None => None,
        Some((raw, timeout)) => {
            let hooks = Hooks {
                set_up: raw.set_up.clone(),
                before_each: raw.before_each.clone(),
                after_each: raw.after_each.clone(),
                tear_down: raw.tear_down.clone(),
                timeout: *timeout,
                cwd: project.root.clone(),
                ..Hooks::default()
            };
            Some(hooks.with_variables(&world.env, &raw.env, &raw.pass_env)?)
        }
    };
    let collector = match &around.collect {
        None => None,
        Some((address, grace)) => {
            let collector: Arc<dyn Collector> = services.collectors().at(project, world, address)?;
            Some((collector, *grace))
        }
    };
    let staging = Staging {
        hooks,
        isolate: around.isolate,
        collector,
        talk: around.conversation.as_ref().map(|raw| talk(raw, services)).transpose()?,
        timeout: around.timeout,
        attempts: around.attempts,
        settings: settings(around),
        clock: world.clock.clone(),
    };
    Ok(Arc::new(Staged::new(target, staging)))
}

fn talk(raw: &RawConversation, services: &Services) -> Result<Talk, String> {
    let user = match &raw.model {
        None => User::Script,
        Some(alias) => {
            let model = services.model(alias).map_err(|error| format!("`conversation.model`: {error}"))?;
            let goals = Goals::new(model, raw.prompt.as_deref(), raw.stop.clone());
            User::Model(Box::new(goals.map_err(|error| format!("`conversation.prompt`: {error}"))?))
        }
    };
    Ok(Talk::new(user, raw.max_turns.unwrap_or(TURNS), raw.until.clone()))
}

/// What of it changes an output: hooks and the conversation. Where spans go and how long is waited does not.
fn settings(around: &Around) -> Value {
    let mut settings = Map::new();
    if let Some((hooks, _)) = &around.hooks {
        settings.insert("hooks".to_owned(), json!(hooks));
    }
    if let Some(conversation) = &around.conversation {
        settings.insert("conversation".to_owned(), json!(conversation));
    }
    if settings.is_empty() { Value::Null } else { Value::Object(settings) }
}
