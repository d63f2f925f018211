//! What the injected container asks for: what the smallest container of the pod asks for.
//!
//! It runs before the others, so that a pod counts with the larger of the two: whatever one of the others asks for changes
//! nothing of what the pod asks for, nor of its quality of service, its quotas, where it is scheduled or how it is scaled. A
//! `LimitRange` lets it in since it lets the other in, and a quota that wants every container to name a resource finds it named,
//! since all others name it. So neither has to be known.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::parts::{containers, is_ours};

/// The resources that decide about quality of service, and that quotas want named.
const RESOURCES: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
/// With less memory than this the container might not start, where there is one with more.
const ENOUGH_MEMORY: f64 = 32.0 * 1024.0 * 1024.0;

type Amounts = BTreeMap<String, Quantity>;

/// The resources of the injected container; `None` if there is nothing that all others name.
pub(super) fn like_the_others(spec: &PodSpec) -> Option<ResourceRequirements> {
    let others: Vec<_> = containers(spec).filter(|c| !is_ours(c)).collect();
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for resource in RESOURCES {
        let mut named: Vec<_> = others.iter().map(|one| Named::of(one, resource)).collect();
        let all = |named: &[Named], is: fn(&Named) -> bool| named.iter().all(is);
        let requested = all(&named, |one| one.request.is_some());
        let limited = all(&named, |one| one.limit.is_some());
        if resource == "memory" && named.iter().any(Named::is_enough_memory) {
            named.retain(Named::is_enough_memory);
        }
        let smallest = named
            .into_iter()
            .min_by(|a, b| a.size().total_cmp(&b.size()));
        let Some(Named { request, limit }) = smallest else {
            continue;
        };
        let put = |amounts: &mut Amounts, amount: Option<Quantity>, is| {
            let amount = amount.filter(|_| is);
            amounts.extend(amount.map(|amount| (resource.to_owned(), amount)));
        };
        put(&mut requests, request, requested);
        put(&mut limits, limit, limited);
    }
    let given = |amounts: Amounts| Some(amounts).filter(|amounts| !amounts.is_empty());
    let (requests, limits) = (given(requests), given(limits));
    (requests.is_some() || limits.is_some()).then_some(ResourceRequirements {
        requests,
        limits,
        claims: None,
    })
}

/// What a container says of one resource.
struct Named {
    request: Option<Quantity>,
    limit: Option<Quantity>,
}

impl Named {
    fn of(container: &Container, resource: &str) -> Self {
        let of = |amounts: Option<&Amounts>| amounts?.get(resource).cloned();
        let resources = container.resources.as_ref();
        let limit = of(resources.and_then(|all| all.limits.as_ref()));
        let request = of(resources.and_then(|all| all.requests.as_ref()));
        Self {
            // As the API server has it.
            request: request.or_else(|| limit.clone()),
            limit,
        }
    }

    /// By what is compared: what cannot be read is large.
    fn size(&self) -> f64 {
        let size = self.request.as_ref().and_then(amount);
        size.unwrap_or(f64::INFINITY)
    }

    fn is_enough_memory(&self) -> bool {
        let limit = self.limit.as_ref().and_then(amount);
        limit.is_none_or(|limit| limit >= ENOUGH_MEMORY)
    }
}

/// A quantity as a number, near enough to compare.
fn amount(quantity: &Quantity) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = quantity.0.as_str();
    let suffix = SUFFIXES
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)));
    let (number, unit) = suffix.unwrap_or((text, 1.0));
    let number: f64 = number.parse().ok()?;
    number.is_finite().then_some(number * unit)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn like(containers: &Value) -> Value {
        let pod = json!({"containers": containers});
        let spec: PodSpec = serde_json::from_value(pod).unwrap();
        serde_json::to_value(like_the_others(&spec)).unwrap()
    }

    fn container(resources: &Value) -> Value {
        json!({"name": "x", "resources": resources})
    }

    #[test]
    fn quantities_compare_by_what_they_mean() {
        let is = |text: &str| amount(&Quantity(text.to_owned()));
        assert_eq!(is("100m"), Some(0.1));
        assert_eq!(is("1Gi"), Some(1_073_741_824.0));
        assert_eq!(is("1e3"), is("1k"));
        assert_eq!(is("2E"), Some(2e18));
        assert_eq!(is("0.5"), is("500m"));
        assert_eq!(is("a lot"), None);
        assert_eq!(is("inf"), None);
    }

    #[test]
    fn a_guaranteed_pod_stays_guaranteed_by_what_its_smallest_container_has() {
        let of = |cpu: &str, memory: &str| {
            let amounts = json!({"cpu": cpu, "memory": memory});
            container(&json!({"requests": amounts, "limits": amounts}))
        };
        let amounts = json!({"cpu": "250m", "memory": "64Mi"});
        assert_eq!(
            like(&json!([of("1", "64Mi"), of("250m", "1Gi")])),
            json!({"requests": amounts, "limits": amounts})
        );
    }

    #[test]
    fn limits_alone_are_requests_too_and_what_only_some_name_is_left_out() {
        let pod = json!([
            container(&json!({"limits": {"cpu": "2"}, "requests": {"memory": "1Gi"}})),
            container(&json!({"limits": {"cpu": "1"}, "requests": {"cpu": "100m"}})),
        ]);
        let expected = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}});
        assert_eq!(like(&pod), expected);
        assert_eq!(like(&json!([container(&json!({}))])), Value::Null);
    }

    #[test]
    fn hardly_any_memory_is_not_taken_where_another_has_more() {
        let of = |memory: &str| container(&json!({"limits": {"memory": memory}}));
        let limit = |pod: Value| like(&pod)["limits"]["memory"].clone();
        assert_eq!(
            limit(json!([of("8Mi"), of("2Gi"), of("64Mi")])),
            json!("64Mi")
        );
        assert_eq!(limit(json!([of("8Mi")])), json!("8Mi"));
    }
}
