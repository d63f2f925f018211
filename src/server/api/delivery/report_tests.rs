use super::*;

const VERSION: &str = "1b4e28ba-2fa1-4d1c-8d8a-1f2e3d4c5b6a";
const NEXT: &str = "6fa459ea-ee8a-4ca4-894e-db77e160355e";

const NODE: Node<'static> = Node {
    name: "n1",
    pod_uid: "plugin",
};

fn loaded(secrets: &[(&str, &str)]) -> Loaded {
    let secrets = secrets
        .iter()
        .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
    Loaded {
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
        uid: "u-1".to_owned(),
        secrets: secrets.collect(),
    }
}

fn pod(uid: &str, node: Option<&str>, condition: Option<&Value>) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web-0", "uid": uid},
        "spec": {"nodeName": node, "containers": [], "volumes": [
            {"name": "v", "csi": {"driver": "secrets.keystead.dev", "volumeAttributes": {"secret": "db"}}},
        ]},
        "status": {"conditions": condition.into_iter().collect::<Vec<_>>()},
    }))
    .unwrap()
}

fn now() -> Timestamp {
    "2026-11-25T12:00:00.123456Z".parse().unwrap()
}

#[test]
fn a_node_speaks_of_its_own_pods_and_of_what_they_mount_only() {
    let said = loaded(&[("db", VERSION)]);
    assert_eq!(
        may_speak(&NODE, &said, &pod("u-1", Some("n1"), None)),
        Ok(())
    );
    for other in [
        pod("u-2", Some("n1"), None),
        pod("u-1", Some("n2"), None),
        pod("u-1", None, None),
    ] {
        let refused = may_speak(&NODE, &said, &other).unwrap_err();
        assert_eq!(refused, not_here(&NODE, &said), "all are told the same");
        assert!(Failure::of(&said, refused).is_refusal());
    }
    let more = loaded(&[("db", VERSION), ("other", VERSION)]);
    let refused = may_speak(&NODE, &more, &pod("u-1", Some("n1"), None)).unwrap_err();
    assert_eq!(refused.code, "AccessDeniedException");
}

#[test]
fn what_is_no_version_or_no_name_is_refused_before_anybody_is_asked() {
    assert_eq!(well_formed(&loaded(&[("db", VERSION)])), Ok(()));
    assert!(well_formed(&loaded(&[("db", "latest")])).is_err());
    let strange = Loaded {
        name: "web/../0".to_owned(),
        ..loaded(&[])
    };
    let refused = well_formed(&strange).unwrap_err();
    assert!(!Failure::of(&strange, refused).is_refusal());
    let many = (0..=MOST).map(|_| loaded(&[])).collect();
    assert!(pods(ReportLoaded { pods: many }).is_err());
}

#[test]
fn the_condition_is_written_when_it_says_something_else_and_only_then() {
    let said = loaded(&[("db", VERSION)]);
    let written = patch(&said, &pod("u-1", Some("n1"), None), now()).unwrap();
    assert_eq!(written["metadata"], json!({"uid": "u-1"}));
    let condition = written["status"]["conditions"][0].clone();
    assert_eq!(
        condition,
        json!({"type": "keystead.dev/SecretsLoaded", "status": "True", "reason": "Loaded",
               "message": format!("db={VERSION}"), "lastTransitionTime": "2026-11-25T12:00:00Z"})
    );
    let shown = pod("u-1", Some("n1"), Some(&condition));
    assert_eq!(patch(&said, &shown, now()), None);
    // Its status is the same still, so that the transition stays where it was.
    let later = "2026-11-26T12:00:00Z".parse().unwrap();
    let next = patch(&loaded(&[("db", NEXT)]), &shown, later).unwrap();
    let next = &next["status"]["conditions"][0];
    assert_eq!(next["message"], format!("db={NEXT}"));
    assert_eq!(next["lastTransitionTime"], "2026-11-25T12:00:00Z");
    let mut no_more = condition;
    no_more["status"] = json!("False");
    let no_more = pod("u-1", Some("n1"), Some(&no_more));
    let again = patch(&said, &no_more, later).unwrap();
    let again = &again["status"]["conditions"][0];
    assert_eq!(again["lastTransitionTime"], "2026-11-26T12:00:00Z");
}

#[test]
fn what_failed_is_told_by_uid() {
    let said = loaded(&[]);
    let failed = [Failure::of(&said, ApiError::unanswered())];
    let told = told(&failed);
    assert_eq!(told["Failed"][0]["Uid"], "u-1");
    assert_eq!(told["Failed"][0]["Code"], "ServiceUnavailableException");
}
