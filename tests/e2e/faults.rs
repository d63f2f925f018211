//! What happens to clusters: API servers and kubelets are started again, nodes lose their power, certificates run out. In no case
//! does anybody lend a hand, and no pod gets another value than the right one, or none.

use std::thread::sleep;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use keystead::certificates::{Step, Stored};
use keystead_cluster::Component;
use serde_json::{Value, json};

use crate::bed::{Bed, PODS, SYSTEM, Turn, text};
use crate::node::{assert_only_left_of_pods, mounted_volumes};
use crate::tools::{eventually, eventually_none};
use crate::workloads::{
    Ways, assert_follows, assert_read, change, checker, deployment, logs, many, name, opted_in,
    reader, restarts, sealed, succeeded, template, wait_rolled_out, wait_succeeded, web,
};

/// Longer than a replica of the server answers without having heard of the API server.
const LONG: Duration = Duration::from_secs(18);
/// Everything is as before, without a hand: changes arrive in running pods, and new secrets in new pods.
#[track_caller]
fn assert_goes_on(bed: &Bed, namespace: &str) {
    bed.rolled_out();
    change(bed, namespace, "somebody-else");
    assert_follows(bed, namespace, "somebody-else");
    let value = sealed(bed, namespace, "later");
    let pod = reader(bed, "later", false);
    bed.apply(&deployment(namespace, "later", 1, &pod));
    wait_rolled_out(bed, namespace, "later");
    assert_read(&logs(bed, namespace, "deployment/later"), &value);
    assert_only_left_of_pods(bed);
}

#[test]
fn no_pod_is_lost_that_starts_while_the_api_server_is_started_again() {
    const STARTS: u64 = 30;
    let bed = Turn::take();
    let Some(node) = bed.target.own() else { return };
    let namespace = "e2e-api-server";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    bed.apply(&deployment(namespace, "web", 2, &reader(&bed, "db", false)));
    let pod = checker(&bed, "db", &value, Ways::VolumeAndVariable);
    bed.apply(&many(namespace, "many", STARTS, 10, &pod).to_string());

    wait_succeeded(&bed, namespace, "many", 1);
    node.kill(Component::ApiServer);
    sleep(Duration::from_secs(2));
    node.start(Component::ApiServer);
    let done = succeeded(&bed, namespace, "many");
    wait_succeeded(&bed, namespace, "many", done + 1);
    node.stop(Component::ApiServer);
    sleep(LONG);
    node.start(Component::ApiServer);

    wait_succeeded(&bed, namespace, "many", STARTS);
    wait_rolled_out(&bed, namespace, "web");
    for pod in web(&bed, namespace) {
        assert_read(&logs(&bed, namespace, &name(&pod)), &value);
    }
    assert_goes_on(&bed, namespace);
}

#[test]
fn running_pods_keep_and_follow_their_files_and_others_start_while_kubelet_is_started_again() {
    const STARTS: u64 = 16;
    let bed = Turn::take();
    let Some(node) = bed.target.own() else { return };
    let namespace = "e2e-kubelet";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    bed.apply(&deployment(namespace, "web", 2, &reader(&bed, "db", false)));
    wait_rolled_out(&bed, namespace, "web");
    let running: Vec<_> = web(&bed, namespace).iter().map(name).collect();
    let pod = checker(&bed, "db", &value, Ways::VolumeAndVariable);
    let mut many = many(namespace, "many", STARTS, 8, &pod);
    // A container that the runtime was starting when kubelet ended does not start (StartError, 128), with whatever secrets: such a pod
    // is replaced. One that reads what it should not ends with another code, and fails the Job as ever.
    let unstarted = json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [128]}});
    many["spec"]["podFailurePolicy"] = json!({"rules": [unstarted]});
    bed.apply(&many.to_string());

    wait_succeeded(&bed, namespace, "many", 1);
    node.kill(Component::Kubelet);
    // Nobody needs it for the files of running pods.
    change(&bed, namespace, "while-kubelet-is-away");
    eventually("the files follow", || {
        let pods = web(&bed, namespace);
        let mut files = pods.iter().map(|pod| on_node(&bed, pod, "username"));
        files
            .all(|read| read.as_deref() == Some("while-kubelet-is-away"))
            .then_some(())
    });
    for pod in web(&bed, namespace) {
        assert_eq!(on_node(&bed, &pod, "password").as_ref(), Some(&value));
    }
    node.start(Component::Kubelet);
    let done = succeeded(&bed, namespace, "many");
    wait_succeeded(&bed, namespace, "many", done + 1);
    node.stop(Component::Kubelet);
    node.start(Component::Kubelet);

    wait_succeeded(&bed, namespace, "many", STARTS);
    assert_follows(&bed, namespace, "while-kubelet-is-away");
    let pods = web(&bed, namespace);
    assert_eq!(pods.iter().map(name).collect::<Vec<_>>(), running);
    assert_eq!(pods.iter().map(restarts).sum::<u64>(), 0, "{pods:#?}");
    assert_goes_on(&bed, namespace);
}

/// A file of the volume `secret` of a pod, as it is on this machine.
fn on_node(bed: &Bed, pod: &Value, file: &str) -> Option<String> {
    let uid = text(&pod["metadata"]["uid"]);
    let volume = format!("pods/{uid}/volumes/kubernetes.io~csi/secret/mount");
    let path = bed.target.kubelet_root().join(volume).join(file);
    std::fs::read_to_string(path).ok()
}

#[test]
fn pods_come_back_with_the_right_values_after_their_node_lost_its_power() {
    let bed = Turn::take();
    let Some(node) = bed.target.own() else { return };
    let namespace = "e2e-power";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    for name in ["web", "forgotten"] {
        bed.apply(&deployment(namespace, name, 2, &reader(&bed, "db", false)));
    }
    for name in ["web", "forgotten"] {
        wait_rolled_out(&bed, namespace, name);
    }
    let running: Vec<_> = web(&bed, namespace).iter().map(name).collect();

    node.cut_power();
    assert_eq!(mounted_volumes("self"), [""; 0]);
    change(&bed, namespace, "while-the-node-was-off");
    // The node never hears of these pods again.
    let delete = ["delete", "deployment/forgotten", "--cascade=orphan"];
    bed.tools
        .kubectl([&["-n", namespace], &delete[..]].concat());
    for what in ["replicasets", "pods"] {
        let force = ["-l", "app=forgotten", "--force", "--grace-period=0"];
        let delete = [&["-n", namespace, "delete", what], &force[..]].concat();
        bed.tools.kubectl(delete);
    }
    let begun = Instant::now();
    node.switch_on();

    eventually("each pod runs again", || {
        let pods = web(&bed, namespace);
        let again = |pod: &Value| {
            let ready = &pod["status"]["containerStatuses"][0]["ready"];
            restarts(pod) > 0 && ready == true
        };
        (pods.iter().map(name).eq(running.iter().cloned()) && pods.iter().all(again)).then_some(())
    });
    println!("the pods run again after {:?}", begun.elapsed());
    for pod in &running {
        assert_read(&logs(&bed, namespace, pod), &value);
    }
    assert_follows(&bed, namespace, "while-the-node-was-off");
    let known = ["logs", "daemonset/keystead-node", "--tail=-1"];
    let known = bed.tools.kubectl([&["-n", SYSTEM], &known[..]].concat());
    assert!(known.contains("kubelet knows the plugin"), "{known}");
    assert_goes_on(&bed, namespace);
}

/// The controller is away as long as this is there.
struct Away<'a>(&'a Bed);

impl<'a> Away<'a> {
    fn send(bed: &'a Bed) -> Self {
        let away = Self(bed);
        away.scale(0);
        // Also those on their way out: they could still make a certificate.
        eventually_none("its pods are gone", || {
            let get = ["-n", SYSTEM, "get", "pods", "-l", PODS, "-o", "name"];
            let pods = bed.tools.kubectl(get);
            pods.lines().map(str::to_owned).collect()
        });
        away
    }

    fn scale(&self, replicas: u32) {
        let replicas = format!("--replicas={replicas}");
        let scale = ["scale", "deployment/keystead-controller", &replicas];
        self.0.tools.kubectl([&["-n", SYSTEM], &scale[..]].concat());
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        self.scale(2);
    }
}

#[test]
fn pods_start_again_when_the_controller_finds_a_certificate_of_the_webhooks_that_ran_out() {
    let bed = Turn::take();
    let namespace = "e2e-expired";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    let pod = reader(&bed, "db", false);

    // As after months without a controller.
    let away = Away::send(&bed);
    replace_by_expired(&bed);
    let restart = ["rollout", "restart", "deployment/keystead-server"];
    bed.tools.kubectl([&["-n", SYSTEM], &restart[..]].concat());
    let mut bare = template("web", &pod);
    bare["apiVersion"] = "v1".into();
    bare["kind"] = "Pod".into();
    bare["metadata"] = json!({"name": "bare", "namespace": namespace});
    eventually("who makes a pod is told what ran out", || {
        let args = ["create", "--dry-run=server", "-f", "-"];
        let refused = bed.tools.try_kubectl_with(args, &bare.to_string()).err()?;
        refused.contains("certificate has expired").then_some(())
    });
    forget_authority(&bed);
    bed.apply(&deployment(namespace, "web", 2, &pod));
    eventually("its pods are refused", || {
        let events = bed.get(namespace, "events").to_string();
        events.contains("FailedCreate").then_some(())
    });

    drop(away);
    let begun = Instant::now();
    eventually("there are pods", || {
        (web(&bed, namespace).len() == 2).then_some(())
    });
    println!("pods are made again after {:?}", begun.elapsed());
    wait_rolled_out(&bed, namespace, "web");
    assert_read(&logs(&bed, namespace, "deployment/web"), &value);
    assert_goes_on(&bed, namespace);
}

/// Gives the server a certificate of the same authority that ran out.
fn replace_by_expired(bed: &Bed) {
    let secret = |name: &str| -> Option<Secret> {
        let secret = bed.get(SYSTEM, &format!("secret/{name}"));
        Some(serde_json::from_value(secret).expect("a Secret"))
    };
    let stored = Stored {
        authorities: secret("keystead-ca"),
        served: secret("keystead-server-tls"),
    };
    let hosts = stored.facts().leaf.expect("there is a certificate").hosts;
    let long_ago = Timestamp::now() - SignedDuration::from_hours(100 * 24);
    let expired = stored.after(Step::Issue, &hosts, long_ago);
    let expired = serde_json::to_string(&expired.expect("it is made")).expect("JSON");
    bed.tools.kubectl_with(["replace", "-f", "-"], &expired);
}

/// Has the API server trust nobody who answers for the webhooks.
fn forget_authority(bed: &Bed) {
    for kind in ["validating", "mutating"] {
        let configuration = format!("{kind}webhookconfiguration/keystead-server");
        let webhooks = bed.get(SYSTEM, &configuration)["webhooks"].take();
        let webhooks = webhooks.as_array().expect("a list").len();
        let path = |webhook| format!("/webhooks/{webhook}/clientConfig/caBundle");
        let blank = (0..webhooks)
            .map(|webhook| json!({"op": "replace", "path": path(webhook), "value": ""}));
        let patch = Value::from(blank.collect::<Vec<_>>()).to_string();
        let args = ["patch", &configuration, "--type=json", "-p", &patch];
        bed.tools.kubectl(args);
    }
}
