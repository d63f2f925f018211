//! One pass over everything that is wrapped under another root key than the current one.
//!
//! A key that cannot be wrapped anew holds up no other one. It is named, and its root key is not removed: that needs a count
//! which finds nothing.

use kube::ResourceExt;
use tracing::info;

use crate::api::KeyMaterial;
use crate::controllers::context::Context;
use crate::controllers::error::{Class, Error};
use crate::controllers::key_truth::replace;
use crate::crypto::OsRandom;
use crate::keys::{RewrapError, rewrap, roots_of};

/// Most keys that a message names.
const NAMED: usize = 3;

/// What became of the keys of one pass.
#[derive(Debug, Default)]
pub(super) struct Pass {
    done: usize,
    failed: Vec<String>,
    first: Option<String>,
    /// Whether the API server refused one of them: it may be talked round where nobody watches.
    refused: bool,
}

impl Pass {
    /// Whether another pass may do better although nothing is seen to have changed.
    pub(super) fn may_do_better(&self) -> bool {
        self.refused
    }

    /// What the pass left as it was, and why; `None` if nothing.
    pub(super) fn problem(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let named: Vec<_> = self.failed.iter().take(NAMED).cloned().collect();
        Some(format!(
            "{} keys cannot be wrapped anew, among them KeyMaterial {}: {first}",
            self.failed.len(),
            named.join(", ")
        ))
    }

    fn failed(&mut self, name: String, why: String) {
        self.failed.push(name);
        self.first.get_or_insert(why);
    }

    /// Takes note of how the replacement of one key ended.
    ///
    /// # Errors
    /// That of the replacement, if it says nothing of this key alone: then the pass ends, and is tried again later.
    fn replaced(&mut self, name: String, replaced: Result<(), Error>) -> Result<(), Error> {
        match replaced {
            Ok(()) => self.done += 1,
            // Somebody else wrote it meanwhile. The next look finds it, or finds it done.
            Err(error) if error.class() == Class::Conflict => {}
            Err(error) if is_of_one_object(&error) => {
                self.refused = true;
                self.failed(name, error.to_string());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Wraps anew what is wrapped under another root key, each key by a replacement of exactly the state that was seen.
pub(super) async fn rewrap_all(others: Vec<KeyMaterial>, ctx: &Context) -> Result<Pass, Error> {
    let mut pass = Pass::default();
    for truth in others {
        let name = truth.name_any();
        match wrapped_anew(&truth, ctx).await {
            Ok(wanted) => {
                let replaced = replace(&wanted, ctx).await;
                pass.replaced(name, replaced)?;
            }
            Err(RewrapError::Random(_)) => return Err(Error::Random),
            Err(error) => pass.failed(name, error.to_string()),
        }
    }
    info!(
        keys = pass.done,
        left = pass.failed.len(),
        "key material was wrapped under the current root key"
    );
    Ok(pass)
}

async fn wrapped_anew(truth: &KeyMaterial, ctx: &Context) -> Result<KeyMaterial, RewrapError> {
    let roots = &ctx.installation.roots;
    for root in roots_of(&truth.spec) {
        roots.want(root).await;
    }
    rewrap(truth, ctx.installation.id, roots, &mut OsRandom)
}

/// Whether the API server refused what was sent, so that another object may fare better. One that is overloaded, or does not
/// know us, refuses everything.
fn is_of_one_object(error: &Error) -> bool {
    let Error::Api { source, .. } = error else {
        return false;
    };
    match &**source {
        kube::Error::Api(status) => {
            (400..500).contains(&status.code) && ![401, 429].contains(&status.code)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn refused(code: u16, reason: &str) -> Result<(), Error> {
        let status = Status::failure("", reason).with_code(code).boxed();
        Err(Error::Api {
            operation: "replace",
            object: "KeyMaterial x".to_owned(),
            source: Box::new(kube::Error::Api(status)),
        })
    }

    #[test]
    fn one_key_that_is_refused_holds_up_no_other_and_is_named() {
        let mut pass = Pass::default();
        pass.replaced("a".into(), Ok(())).unwrap();
        pass.replaced("b".into(), refused(422, "Invalid")).unwrap();
        pass.replaced("c".into(), refused(409, "Conflict")).unwrap();
        pass.replaced("d".into(), refused(403, "Forbidden"))
            .unwrap();
        assert!(pass.done == 1 && pass.may_do_better());
        let problem = pass.problem().unwrap();
        let wanted = "2 keys cannot be wrapped anew, among them KeyMaterial b, d: ";
        assert!(problem.starts_with(wanted), "{problem}");
        assert!(problem.contains("Invalid (422)"), "{problem}");
    }

    #[test]
    fn an_api_server_that_serves_nobody_ends_the_pass() {
        for (code, reason) in [
            (500, "InternalError"),
            (429, "TooManyRequests"),
            (401, "Unauthorized"),
        ] {
            let ended = Pass::default().replaced("a".into(), refused(code, reason));
            assert!(ended.is_err(), "{code}");
        }
    }

    #[test]
    fn a_pass_without_failures_says_nothing_and_what_does_not_open_will_not_open_a_little_later() {
        let mut pass = Pass::default();
        pass.replaced("a".into(), Ok(())).unwrap();
        assert_eq!(pass.problem(), None);
        pass.failed("b".into(), "it does not open".into());
        assert!(pass.problem().is_some() && !pass.may_do_better());
    }
}
