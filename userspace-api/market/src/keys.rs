//! The key files of a market's sessions.

use crate::plan::{MarketError, Plan};
use ring0_trader::{Existing, Session, SessionError};
use std::path::{Path, PathBuf};

/// What [`keygen`] did for one session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyMade {
    /// The session's name.
    pub session: String,
    /// Its key file.
    pub path: PathBuf,
    /// Whether a new key was written; otherwise the file was there and stays.
    pub made: bool,
}

/// Makes a key file, with a random key and a random session id, for every session that has none;
/// with [`Existing::Replace`] for all, which ends the old keys when the shard is set up anew.
///
/// # Errors
/// The market file is wrong, or a key file cannot be written; those made before stay.
pub fn keygen(market: &Path, existing: Existing) -> Result<Vec<KeyMade>, MarketError> {
    let mut plans = Plan::load_all(market)?;
    let plan = plans.swap_remove(0); // sessions are those of the whole venue in each
    let mut report = Vec::with_capacity(plan.sessions.len());
    for (index, session) in plan.sessions.iter().enumerate() {
        let path = &session.key_file;
        let made = if existing == Existing::Keep && path.symlink_metadata().is_ok() {
            false
        } else {
            let saved = Session::generate(index as u32).and_then(|new| {
                let new = new.expect("a plan has at most 2^20 sessions");
                new.save(path, existing)
            });
            match saved {
                Ok(()) => true,
                Err(SessionError::Exists { .. }) => false, // another keygen was faster
                Err(source) => {
                    return Err(MarketError::Key {
                        path: plan.path,
                        index,
                        source,
                    });
                }
            }
        };
        report.push(KeyMade {
            session: session.name.clone(),
            path: path.clone(),
            made,
        });
    }
    Ok(report)
}

/// The sessions of a plan with their keys.
pub(crate) fn open(plan: &Plan) -> Result<Vec<Session>, MarketError> {
    let mut sessions = Vec::with_capacity(plan.sessions.len());
    for (index, session) in plan.sessions.iter().enumerate() {
        let opened = Session::open(&session.key_file).map_err(|source| MarketError::Key {
            path: plan.path.clone(),
            index,
            source,
        })?;
        let named = opened.id().index();
        if named != Some(index as u32) {
            return Err(MarketError::Rule {
                path: plan.path.clone(),
                key: format!("session[{index}].key_file"),
                problem: format!(
                    "{} was made for session number {}, this is number {index}",
                    session.key_file.display(),
                    named.map_or_else(String::new, |index| index.to_string()),
                ),
                fix: "put the sessions back in their order, or delete the file and run keygen"
                    .to_owned(),
            });
        }
        let opened = if plan.shard.tag {
            opened
        } else {
            Session::without_tag(opened.id())
        };
        sessions.push(opened.with_answers(session.answers));
    }
    Ok(sessions)
}
