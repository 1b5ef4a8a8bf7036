//! The audit trail: who ran or blessed what. Written by the use cases, chained by the store, checked by `doctor`.

use super::exit::{Done, Failed};
use super::project::{Project, World};
use crate::store::{AuditEntry, Store};
use crate::sys::git;

/// Who acts: as git knows them, else the user of the system.
pub fn actor(project: &Project, world: &World) -> String {
    git::author(&project.root)
        .or_else(|| world.env.get("USER").map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Appends one record.
pub async fn record(
    store: &dyn Store,
    world: &World,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Done<()> {
    let entry = AuditEntry {
        at: world.clock.now(),
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        detail: detail.to_owned(),
    };
    store.audit(&entry).await.map(|_| ()).map_err(Failed::instrument)
}
