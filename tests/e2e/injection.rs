//! Workloads whose manifests stay unchanged, on a real node: what their programs read, while everything that gives it to them is
//! killed, and what is left behind.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bed::{Bed, Namespace, Turn, text};
use crate::node::{Kill, assert_nothing_left, kill_plugin};
use crate::tools::{TIMEOUT, eventually};
use crate::workloads::{
    Ways, assert_read, checker, deployment, job, logs, many, opted_in, reader, sealed, succeeded,
    wait_rolled_out, wait_succeeded,
};

#[test]
fn unchanged_deployments_jobs_and_cronjobs_read_what_is_sealed_and_etcd_never_holds_it() {
    let bed = Turn::take();
    let namespace = "e2e-injection";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");

    bed.apply(&deployment(namespace, "web", 2, &reader(&bed, "db", false)));
    wait_rolled_out(&bed, namespace, "web");
    assert_read(&logs(&bed, namespace, "deployment/web"), &value);

    let once = reader(&bed, "db", true);
    bed.apply(&job(namespace, "once", &once).to_string());
    let cron = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cron", "namespace": namespace},
        "spec": {"schedule": "* * * * *", "suspend": true, "jobTemplate": {"spec": job(namespace, "cron", &once)["spec"]}}});
    bed.apply(&cron.to_string());
    let from = ["create", "job", "from-cron", "--from=cronjob/cron"];
    bed.tools.kubectl([&["-n", namespace], &from[..]].concat());
    for name in ["job/once", "job/from-cron"] {
        let complete = "--for=condition=Complete";
        bed.tools
            .kubectl(["-n", namespace, "wait", name, complete, TIMEOUT]);
        assert_read(&logs(&bed, namespace, name), &value);
    }
    if let Some(keys) = bed.etcd_keys_containing(&value) {
        assert_eq!(keys, [""; 0]);
    }
    assert!(!bed.logs().contains(&value));

    // The pod says which version it has.
    let current = bed.get(namespace, "managedsecret/db");
    let version = text(&current["status"]["versions"][0]["id"]);
    eventually("the pods say which version they have", || {
        let pods = bed.get(namespace, "pods");
        let pods = pods["items"].as_array().expect("a list").iter();
        let mut web = pods.filter(|pod| pod["metadata"]["labels"]["app"] == "web");
        let has = |pod: &Value| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "keystead.dev/SecretsLoaded"
                    && condition["message"]
                        .as_str()
                        .unwrap_or_default()
                        .contains(&version)
            })
        };
        web.all(has).then_some(())
    });
}

#[test]
fn a_pod_that_names_the_driver_reads_anywhere_and_follows_changes() {
    let bed = Turn::take();
    let namespace = "e2e-csi";
    let _namespace = Namespace::create(&bed, namespace);
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": namespace}, "spec": {
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "app", "image": bed.target.busybox(), "command": ["sleep", "3600"],
            "volumeMounts": [{"name": "db", "mountPath": "/etc/db"}]}],
        "volumes": [{"name": "db", "csi": {"driver": "secrets.keystead.dev", "readOnly": true,
            "volumeAttributes": {"secret": "db", "defaultMode": "0400"}}}]}});
    // Before its secret: kubelet goes on trying, and says why.
    bed.apply(&pod.to_string());
    eventually("a person is told what is missing", || {
        let events = bed.get(namespace, "events").to_string();
        (events.contains("FailedMount") && events.contains("db")).then_some(())
    });
    bed.apply(&format!(
        "
apiVersion: keystead.dev/v1alpha1
kind: ManagedSecret
metadata: {{name: db, namespace: {namespace}}}
spec:
  generate: [{{key: password, password: {{length: 40}}}}]
  template: {{data: {{url: 'postgres://x:[[ password ]]@db'}}}}
"
    ));
    let ready = "--for=condition=Ready";
    bed.tools
        .kubectl(["-n", namespace, "wait", "pod/app", ready, TIMEOUT]);
    let read = || {
        let args = ["-n", namespace, "exec", "app", "--", "cat", "/etc/db/url"];
        bed.tools.kubectl(args)
    };
    let first = read();
    assert!(
        first.starts_with("postgres://x:") && first.len() > 50,
        "{first}"
    );

    let token = "keystead.dev/regenerate=1";
    let args = ["-n", namespace, "annotate", "managedsecret/db", token];
    bed.tools.kubectl(args);
    let changed = Instant::now();
    let second = eventually("the file follows", || {
        let now = read();
        (now != first).then_some(now)
    });
    println!("a change was in the pod after {:?}", changed.elapsed());

    // A killed plugin takes nothing from running pods, and its successor goes on.
    kill_plugin(&bed, Kill::Process);
    assert_eq!(read(), second);
    let template = r#"{"spec":{"template":{"data":{"url":"mysql://[[ password ]]"}}}}"#;
    let patch = ["patch", "managedsecret/db", "--type=merge", "-p", template];
    bed.tools.kubectl([&["-n", namespace], &patch[..]].concat());
    eventually("the file follows by the next plugin", || {
        read().starts_with("mysql://").then_some(())
    });
    kill_plugin(&bed, Kill::Process);
    bed.tools
        .kubectl(["-n", namespace, "delete", "pod", "app", "--now", TIMEOUT]);
    assert_nothing_left(&bed);
}

#[test]
fn a_deployment_that_came_before_its_secret_comes_back_right() {
    let bed = Turn::take();
    let namespace = "e2e-early";
    let _namespace = opted_in(&bed, namespace);
    bed.apply(&deployment(
        namespace,
        "web",
        2,
        &reader(&bed, "late", false),
    ));
    eventually("its pods are there", || {
        let pods = bed.get(namespace, "pods");
        (pods["items"].as_array()?.len() == 2).then_some(())
    });
    let value = sealed(&bed, namespace, "late");
    wait_rolled_out(&bed, namespace, "web");
    assert_read(&logs(&bed, namespace, "deployment/web"), &value);
}

#[test]
fn nobody_is_lost_while_server_controller_and_plugin_are_killed_in_turn() {
    /// Pods that start while something is killed, and all of them.
    const MEANWHILE: u64 = 200;
    const STARTS: u64 = 500;
    let bed = Turn::take();
    let namespace = "e2e-killing";
    let _namespace = opted_in(&bed, namespace);
    let value = sealed(&bed, namespace, "db");
    let begin = |name: &str, starts: u64, ways: Ways| {
        let pod = checker(&bed, "db", &value, ways);
        bed.apply(&many(namespace, name, starts, 16, &pod).to_string());
        Instant::now()
    };

    let begun = begin("killing", MEANWHILE, Ways::VolumeAndVariable);
    let mut victims = VICTIMS.into_iter().cycle();
    let mut done = 0;
    while done < MEANWHILE {
        kill(&bed, victims.next().expect("they never end"));
        done = eventually("one more pod ends well", || {
            // So that pods start in between, and each victim is back and at work when the next goes.
            sleep(Duration::from_secs(6));
            let now = succeeded(&bed, namespace, "killing");
            (now > done).then_some(now)
        });
    }
    println!("{MEANWHILE} pods started in {:?}", begun.elapsed());
    bed.rolled_out();

    let begun = begin("more", STARTS - MEANWHILE, Ways::Volume);
    wait_succeeded(&bed, namespace, "more", STARTS - MEANWHILE);
    println!("the rest started in {:?}", begun.elapsed());
    for job in ["job/killing", "job/more"] {
        let delete = ["delete", job, "--cascade=foreground", TIMEOUT];
        bed.tools
            .kubectl([&["-n", namespace], &delete[..]].concat());
    }
    assert_nothing_left(&bed);
}

/// What is killed in turn. The plugin once as a process, which kubelet starts again, and once as a pod: it waits longer each time before
/// it starts a process again that ends again and again.
const VICTIMS: [Victim; 6] = [
    Victim::Plugin(Kill::Process),
    Victim::Pods("server"),
    Victim::Pods("controller"),
    Victim::Plugin(Kill::Pod),
    Victim::Pods("server"),
    Victim::Pods("controller"),
];

#[derive(Clone, Copy)]
enum Victim {
    Plugin(Kill),
    /// All pods of a component, at once and without a warning.
    Pods(&'static str),
}

fn kill(bed: &Bed, victim: Victim) {
    match victim {
        Victim::Plugin(how) => kill_plugin(bed, how),
        Victim::Pods(component) => bed.kill_pods(component),
    }
}
