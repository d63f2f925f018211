//! Who is the plugin of a node: its service account, by a token that is bound to a pod on that node. It cannot be another's, since the
//! API server puts the node into the token.

use std::sync::Arc;

use super::report::Failure;
use crate::api::names::NODE_ACCOUNT;
use crate::audit::{Decision, Entry, EventSource, Identity as Who};
use crate::server::api::Caller;
use crate::server::api::authenticate::Identity;
use crate::server::api::calls::DeliveryCall;
use crate::server::api::error::ApiError;
use crate::server::gate::PolicyGate;

/// The plugin of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server::api) struct Node<'a> {
    /// The node's name.
    pub(super) name: &'a str,
    /// The UID of the plugin's pod.
    pub(super) pod_uid: &'a str,
}

/// The plugins of nodes.
pub(super) struct Nodes {
    account: String,
    gate: Arc<PolicyGate>,
}

impl Nodes {
    pub(super) fn new(operator_namespace: &str, gate: Arc<PolicyGate>) -> Self {
        Self {
            account: format!("system:serviceaccount:{operator_namespace}:{NODE_ACCOUNT}"),
            gate,
        }
    }

    /// The plugin that calls.
    ///
    /// # Errors
    /// Somebody else calls, which is written down.
    pub(super) async fn node<'a>(
        &self,
        call: DeliveryCall,
        caller: Caller<'a>,
    ) -> Result<Node<'a>, ApiError> {
        if let Some(node) = node(caller.who, &self.account) {
            return Ok(node);
        }
        let who = caller.who.caller.principal.name();
        let error = ApiError::access_denied(format!(
            "{who} may not {}: only the node plugin may, by the token of its own pod",
            call.name()
        ));
        self.write(caller, call, &error.message, |_| {}).await?;
        Err(error)
    }

    /// Writes down that a node spoke of a pod of which it may not.
    pub(super) async fn refused_report(
        &self,
        caller: Caller<'_>,
        failure: &Failure,
    ) -> Result<(), ApiError> {
        let call = DeliveryCall::ReportLoaded;
        let about = |line: &mut Entry| {
            let other = &mut line.request_parameters.other;
            other.insert("reportedPod".to_owned(), failure.pod.clone());
        };
        self.write(caller, call, &failure.message, about).await
    }

    async fn write(
        &self,
        caller: Caller<'_>,
        call: DeliveryCall,
        why: &str,
        more: impl FnOnce(&mut Entry),
    ) -> Result<(), ApiError> {
        let principal = &caller.who.caller.principal;
        let who = Who {
            user: principal.name().to_owned(),
            groups: principal.groups().to_vec(),
            via: None,
            field_manager: None,
        };
        let source = EventSource::SecretsManager;
        let mut line = Entry::allowed(source, call.name(), who, caller.request_id);
        line.decision = Decision::Deny;
        why.clone_into(&mut line.reason);
        line.error_code = Some(ApiError::access_denied("").code.to_owned());
        let other = &mut line.request_parameters.other;
        if let Some(pod) = &caller.who.pod {
            other.insert("pod".to_owned(), pod.to_string());
            other.extend(pod.node.clone().map(|node| ("node".to_owned(), node)));
        }
        more(&mut line);
        Ok(self.gate.write(line).await?)
    }
}

/// The plugin, if that is one.
fn node<'a>(who: &'a Identity, account: &str) -> Option<Node<'a>> {
    let pod = who.pod.as_ref()?;
    let name = pod.node.as_deref().filter(|name| !name.is_empty())?;
    (who.caller.principal.name() == account).then_some(Node {
        name,
        pod_uid: &pod.uid,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorization::Subject;
    use crate::keys::operations::Caller as KeyCaller;
    use crate::policy::Principal;
    use crate::server::api::authenticate::BoundPod;

    const ACCOUNT: &str = "system:serviceaccount:keystead-system:keystead-node";

    fn identity(user: &str, node: Option<&str>, bound: bool) -> Identity {
        let pod = BoundPod {
            namespace: "keystead-system".to_owned(),
            name: "keystead-node-abc".to_owned(),
            uid: "u-1".to_owned(),
            node: node.map(str::to_owned),
        };
        Identity {
            caller: KeyCaller {
                principal: Principal::user(user.to_owned(), Vec::new(), None).unwrap(),
                subject: Subject {
                    user: user.to_owned(),
                    uid: String::new(),
                    groups: Vec::new(),
                    extra: std::collections::BTreeMap::new(),
                },
                via: None,
            },
            pod: bound.then_some(pod),
        }
    }

    #[test]
    fn only_a_pod_of_the_plugins_account_that_is_on_a_node_is_the_plugin() {
        let plugin = identity(ACCOUNT, Some("n1"), true);
        let found = node(&plugin, ACCOUNT).unwrap();
        assert_eq!((found.name, found.pod_uid), ("n1", "u-1"));
        for (user, on, bound) in [
            (ACCOUNT, None, true),
            (ACCOUNT, Some(""), true),
            (ACCOUNT, Some("n1"), false),
            ("system:serviceaccount:shop:keystead-node", Some("n1"), true),
            (
                "system:serviceaccount:keystead-system:keystead-nodes",
                Some("n1"),
                true,
            ),
            (
                "system:serviceaccount:keystead-system:default",
                Some("n1"),
                true,
            ),
            ("system:node:n1", Some("n1"), true),
        ] {
            let other = identity(user, on, bound);
            assert_eq!(node(&other, ACCOUNT), None, "{user} {on:?} {bound}");
        }
    }
}
