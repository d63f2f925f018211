//! Asks the API server what RBAC says.

use std::time::Duration;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::timeout;
use tracing::warn;

use super::admission::AdmissionRequest;
use crate::api::names::GROUP;
use crate::policy::{Rbac, RbacAttributes};
use crate::telling::describe;

/// Whether whoever asks for the request has that right to its object; `None` if nobody answers in time.
pub(super) async fn ask(
    client: Client,
    request: &AdmissionRequest,
    attributes: RbacAttributes,
    patience: Duration,
) -> Option<Rbac> {
    let reviews: Api<SubjectAccessReview> = Api::all(client);
    let (params, review) = (PostParams::default(), review(request, attributes));
    match timeout(patience, reviews.create(&params, &review)).await {
        Ok(Ok(answer)) => Some(match answer.status {
            Some(status) if status.allowed => Rbac::Allows,
            _ => Rbac::DoesNotAllow,
        }),
        Ok(Err(error)) => {
            let error = describe(&error);
            warn!(error, "RBAC could not be asked");
            None
        }
        Err(_) => {
            warn!("RBAC gave no answer in time");
            None
        }
    }
}

fn review(request: &AdmissionRequest, attributes: RbacAttributes) -> SubjectAccessReview {
    let user = request.user_info.clone();
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(user.username),
            uid: (!user.uid.is_empty()).then_some(user.uid),
            groups: Some(user.groups),
            extra: Some(user.extra),
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some("managedkeys".to_owned()),
                subresource: attributes.subresource.map(str::to_owned),
                verb: Some(attributes.verb.to_owned()),
                namespace: Some(request.namespace.clone()),
                name: (!request.name.is_empty()).then(|| request.name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::admission::UserInfo;
    use super::*;
    use crate::policy::Action;

    #[test]
    fn the_question_is_about_the_author_and_his_right_to_this_key() {
        let request = AdmissionRequest {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            user_info: UserInfo {
                username: "ann".to_owned(),
                groups: vec!["devs".to_owned()],
                ..UserInfo::default()
            },
            ..AdmissionRequest::default()
        };
        let spec = review(&request, Action::PutKeyPolicy.rbac()).spec;
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
