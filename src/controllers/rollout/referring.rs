//! Who refers to native Secrets: workloads by their pods' template, and pods. Nothing is kept: it is asked only where something waits
//! for the answer.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::cluster::{Workloads, pages, unended};
use super::uses::Delivered;
use crate::api::managed_secret::WorkloadKind;
use crate::controllers::error::Error;

/// What is found of those who refer to some Secrets.
struct Referring {
    /// Each Secret, as what is delivered, with those who refer to it.
    found: Vec<(Delivered, Vec<String>)>,
    /// How many of each are enough.
    limit: usize,
    /// The one whose values are injected into pods as they are made: what a template says of them is no reference.
    injected: Option<String>,
}

impl Referring {
    /// Looks at the pods that something will make; whether more has to be looked at.
    fn see_template(&mut self, kind: &str, name: &str, pod: Option<&PodSpec>) -> bool {
        let injected = self.injected.take();
        let more = self.see(kind, name, pod, |secret, pod| {
            if injected.is_some() && secret.target == injected {
                secret.is_needed_natively_by(pod)
            } else {
                secret.is_referred_to_by(pod)
            }
        });
        self.injected = injected;
        more
    }

    /// Looks at pods; whether more has to be looked at.
    fn see(
        &mut self,
        kind: &str,
        name: &str,
        pod: Option<&PodSpec>,
        refers: impl Fn(&Delivered, &PodSpec) -> bool,
    ) -> bool {
        let Some(pod) = pod else {
            return !self.is_enough();
        };
        for (secret, users) in &mut self.found {
            if users.len() < self.limit && refers(secret, pod) {
                users.push(format!("{kind} {name}"));
            }
        }
        !self.is_enough()
    }

    fn is_enough(&self) -> bool {
        self.found
            .iter()
            .all(|(_, users)| users.len() >= self.limit)
    }
}

impl Workloads<'_> {
    /// The workloads, and the jobs and pods that have not ended, that refer to each of these native Secrets: their kinds and names,
    /// at most `limit` of each. Of the Secret whose values are injected into pods as they are made, templates need nothing.
    pub(crate) async fn referring(
        &self,
        names: BTreeSet<String>,
        limit: usize,
        injected: Option<String>,
    ) -> Result<BTreeMap<String, Vec<String>>, Error> {
        let delivered = |name| Delivered {
            target: Some(name),
            secret: None,
        };
        let found = names.into_iter().map(|name| (delivered(name), Vec::new()));
        let mut referring = Referring {
            found: found.collect(),
            limit,
            injected,
        };
        for kind in WorkloadKind::ALL {
            let mut see = |workload: super::workload::Workload| {
                let pod = workload.template.as_ref().and_then(|t| t.spec.as_ref());
                referring.see_template(kind.as_str(), &workload.consumer.name, pod);
            };
            self.each_of(kind, &mut see).await?;
        }
        self.of_jobs(&mut referring).await?;
        self.of_pods(&mut referring).await?;
        let named = referring.found.into_iter();
        Ok(named
            .filter_map(|(secret, users)| Some((secret.target?, users)))
            .collect())
    }

    /// A `CronJob` refers to what its next job will.
    async fn of_jobs(&self, referring: &mut Referring) -> Result<(), Error> {
        if referring.is_enough() {
            return Ok(());
        }
        let api: Api<CronJob> = Api::namespaced(self.ctx.client.clone(), self.namespace);
        let mut see = |job: CronJob| {
            let spec = job.spec.job_template.spec.as_ref();
            let pod = spec.and_then(|spec| spec.template.spec.as_ref());
            referring.see_template("CronJob", &job.name_any(), pod)
        };
        let what = format!("CronJobs of {}", self.namespace);
        pages(&api, &what, ListParams::default(), &mut see).await?;
        let api: Api<Job> = Api::namespaced(self.ctx.client.clone(), self.namespace);
        let mut see = |job: Job| {
            let spec = job.spec.as_ref().filter(|_| !has_ended(&job));
            let pod = spec.and_then(|spec| spec.template.spec.as_ref());
            referring.see_template("Job", &job.name_any(), pod)
        };
        let what = format!("Jobs of {}", self.namespace);
        pages(&api, &what, ListParams::default(), &mut see).await
    }

    async fn of_pods(&self, referring: &mut Referring) -> Result<(), Error> {
        if referring.is_enough() {
            return Ok(());
        }
        let api: Api<Pod> = Api::namespaced(self.ctx.client.clone(), self.namespace);
        let mut see = |pod: Pod| {
            let (name, spec) = (pod.name_any(), pod.spec.as_ref());
            referring.see("Pod", &name, spec, Delivered::is_referred_to_by)
        };
        let what = format!("Pods of {}", self.namespace);
        pages(&api, &what, unended(), &mut see).await
    }
}

/// Whether a job makes no pods any more.
fn has_ended(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        condition.status == "True" && matches!(condition.type_.as_str(), "Complete" | "Failed")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(secret: &str) -> PodSpec {
        let volume = json!({"name": "v", "secret": {"secretName": secret}});
        serde_json::from_value(json!({"containers": [], "volumes": [volume]})).unwrap()
    }

    #[test]
    fn each_secret_has_its_users_up_to_the_limit_and_then_nothing_more_is_looked_at() {
        let delivered = |name: &str| Delivered {
            target: Some(name.to_owned()),
            secret: None,
        };
        let mut referring = Referring {
            found: vec![(delivered("a"), Vec::new()), (delivered("b"), Vec::new())],
            limit: 2,
            injected: None,
        };
        assert!(referring.see_template("Job", "none", None));
        for (name, secret, more) in [
            ("1", "a", true),
            ("2", "c", true),
            ("3", "a", true),
            ("4", "a", true),
            ("5", "b", true),
            ("6", "b", false),
        ] {
            assert_eq!(
                referring.see_template("Pod", name, Some(&pod(secret))),
                more,
                "{name}"
            );
        }
        let users: Vec<_> = referring
            .found
            .into_iter()
            .map(|(_, users)| users)
            .collect();
        assert_eq!(users, [["Pod 1", "Pod 3"], ["Pod 5", "Pod 6"]]);
    }

    #[test]
    fn where_pods_are_injected_a_template_refers_only_by_what_no_injection_can_serve() {
        let delivered = Delivered {
            target: Some("a".to_owned()),
            secret: None,
        };
        let mut referring = Referring {
            found: vec![(delivered, Vec::new())],
            limit: 9,
            injected: Some("a".to_owned()),
        };
        referring.see_template("Deployment", "mounts", Some(&pod("a")));
        let pulls = json!({"containers": [], "imagePullSecrets": [{"name": "a"}]});
        let pulls = serde_json::from_value(pulls).unwrap();
        referring.see_template("Deployment", "pulls", Some(&pulls));
        referring.see(
            "Pod",
            "made-before",
            Some(&pod("a")),
            Delivered::is_referred_to_by,
        );
        assert_eq!(
            referring.found[0].1,
            ["Deployment pulls", "Pod made-before"]
        );
    }

    #[test]
    fn a_job_has_ended_when_a_condition_says_so() {
        let ended = |conditions: Value| {
            let job = json!({"metadata": {}, "status": {"conditions": conditions}});
            has_ended(&serde_json::from_value(job).unwrap())
        };
        let condition = |type_: &str, status: &str| json!([{"type": type_, "status": status}]);
        assert!(ended(condition("Complete", "True")));
        assert!(ended(condition("Failed", "True")));
        assert!(!ended(condition("Failed", "False")));
        assert!(!ended(condition("Suspended", "True")), "it may go on");
        assert!(!ended(json!([])));
    }
}
