//! Asks the API server what RBAC says of somebody (`SubjectAccessReview`). Nothing is cached: a right that was taken away is
//! gone with the next question.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tracing::warn;

use crate::api::names::GROUP;
use crate::calling::within;
use crate::policy::{Rbac, RbacAttributes};
use crate::telling::describe;

/// Somebody whom the API server has authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// User name.
    pub user: String,
    /// UID of the user; empty if it has none.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known of him, for authorizers.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The key or secret that a right is asked about.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPlace<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name; empty while the API server is still to make one.
    pub name: &'a str,
}

/// Whether the subject has that right to that key or secret; `None` if nobody answers in time.
pub async fn ask(
    client: Client,
    subject: &Subject,
    object: ObjectPlace<'_>,
    attributes: RbacAttributes,
    patience: Duration,
) -> Option<Rbac> {
    let reviews: Api<SubjectAccessReview> = Api::all(client);
    let (params, review) = (PostParams::default(), review(subject, object, attributes));
    match within(patience, reviews.create(&params, &review)).await {
        Ok(answer) => Some(match answer.status {
            Some(status) if status.allowed => Rbac::Allows,
            _ => Rbac::DoesNotAllow,
        }),
        Err(error) => {
            let error = describe(&error);
            warn!(error, "RBAC could not be asked");
            None
        }
    }
}

fn review(
    subject: &Subject,
    object: ObjectPlace<'_>,
    attributes: RbacAttributes,
) -> SubjectAccessReview {
    let subject = subject.clone();
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(subject.user),
            uid: (!subject.uid.is_empty()).then_some(subject.uid),
            groups: Some(subject.groups),
            extra: Some(subject.extra),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(attributes.resource.to_owned()),
                subresource: attributes.subresource.map(str::to_owned),
                verb: Some(attributes.verb.to_owned()),
                namespace: Some(object.namespace.to_owned()),
                name: (!object.name.is_empty()).then(|| object.name.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Action;

    #[test]
    fn the_question_is_about_the_subject_and_his_right_to_this_key() {
        let subject = Subject {
            user: "ann".to_owned(),
            groups: vec!["devs".to_owned()],
            ..Subject::default()
        };
        let key = ObjectPlace {
            namespace: "shop",
            name: "orders",
        };
        let spec = review(&subject, key, Action::PutKeyPolicy.rbac()).spec;
        assert_eq!(spec.user.as_deref(), Some("ann"));
        assert_eq!(spec.groups.unwrap(), ["devs"]);
        let asked = spec.resource_attributes.unwrap();
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        assert_eq!(part(&asked.group), "keystead.dev");
        assert_eq!(part(&asked.resource), "managedkeys");
        assert_eq!(part(&asked.subresource), "policy");
        assert_eq!(part(&asked.verb), "update");
        assert_eq!(part(&asked.namespace), "shop");
        assert_eq!(part(&asked.name), "orders");
    }
}
