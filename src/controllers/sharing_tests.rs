use serde_json::json;

use super::*;

/// A replica of `bank/db` that follows it so.
fn replica(namespace: &str, name: &str, state: Option<&str>) -> ManagedSecret {
    let status = state.map(|state| json!({"replication": {"status": state}}));
    serde_json::from_value(json!({
        "apiVersion": "keystead.dev/v1alpha1",
        "kind": "ManagedSecret",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"replicaOf": {"namespace": "bank", "name": "db"}},
        "status": status,
    }))
    .unwrap()
}

/// `bank/db`, shared with two namespaces.
fn source() -> ManagedSecret {
    let mut source = replica("bank", "db", None);
    source.spec = serde_json::from_value(json!({
        "literals": {"a": "b"}, "shareWith": {"namespaces": ["shop", "farm"]},
    }))
    .unwrap();
    source
}

fn told(sharing: &Sharing) -> Option<Vec<(String, Option<ReplicationState>)>> {
    let replicas = sharing.replicas_of(&source())?;
    let told = |r: ReplicaStatus| (format!("{}/{}", r.namespace, r.name), r.status);
    Some(replicas.into_iter().map(told).collect())
}

#[test]
fn a_source_knows_its_replicas_once_everything_was_listed_and_hears_of_their_turns() {
    let (sharing, metrics) = (Sharing::default(), Metrics::new());
    let mut news = sharing.changed.subscribe();
    let mut heard = move || std::iter::from_fn(|| news.try_recv().ok()).count();
    let (mut one, mut two) = (sharing.follow(), sharing.follow());
    let mut follow = |event| one.follow(&event, &sharing, &metrics);
    follow(Event::Init);
    follow(Event::InitApply(replica("shop", "a", Some("InSync"))));
    follow(Event::InitApply(replica("shop", "b", None)));
    follow(Event::InitApply(replica("post", "not-shared-with", None)));
    follow(Event::InitApply(source()));
    follow(Event::InitDone);
    assert_eq!(told(&sharing), None, "the other watch has listed nothing");
    two.follow(&Event::Init, &sharing, &metrics);
    two.follow(&Event::InitDone, &sharing, &metrics);
    let (a, b) = ("shop/a".to_owned(), "shop/b".to_owned());
    let in_sync = Some(ReplicationState::InSync);
    assert_eq!(
        told(&sharing),
        Some(vec![(a.clone(), in_sync), (b.clone(), None)])
    );
    assert_eq!(heard(), 3);

    let mut follow = |event| one.follow(&event, &sharing, &metrics);
    follow(Event::Apply(replica("shop", "b", Some("Failed"))));
    follow(Event::Apply(replica("shop", "b", Some("Failed"))));
    assert_eq!(heard(), 1, "only what is news is told");
    // What was deleted while the watch was cut is not in the next list.
    follow(Event::Init);
    follow(Event::InitApply(replica("shop", "b", Some("Failed"))));
    follow(Event::InitDone);
    let failed = Some(ReplicationState::Failed);
    assert_eq!(told(&sharing), Some(vec![(b, failed)]));
    // Promoted, and deleted.
    let mut promoted = replica("shop", "b", None);
    promoted.spec.replica_of = None;
    follow(Event::Apply(promoted));
    follow(Event::Apply(replica("shop", "a", None)));
    follow(Event::Delete(replica("shop", "a", None)));
    assert_eq!(told(&sharing), Some(vec![]));
    assert!(sharing.sources().is_empty());
    // A replica of a source of that name in another cluster is counted, and is none of ours.
    let mut remote = replica("shop", "c", Some("Failed"));
    let cluster = json!({"secretRef": {"name": "east"}});
    let source = remote.spec.replica_of.as_mut().unwrap();
    source.cluster = Some(serde_json::from_value(cluster).unwrap());
    follow(Event::Apply(remote));
    assert_eq!(told(&sharing), Some(vec![]));
    let place = ObjectRef::new("db").within("bank");
    assert_eq!(sharing.count(&place), 0);
}
