//! The chart and the image.

use crate::bed::{Bed, Namespace, PODS, RELEASE, SYSTEM, Turn, repository};
use crate::target::Target;
use crate::tools::{TIMEOUT, eventually};

#[test]
fn two_replicas_run_and_one_leads_and_only_the_node_plugin_needs_privileges() {
    let bed = Turn::take();
    let restricted = Namespace::create(&bed, "e2e-restricted");
    let level = "pod-security.kubernetes.io/enforce=restricted";
    bed.tools
        .kubectl(["label", "namespace", "e2e-restricted", level]);
    let may_run = |part: &str| {
        let mut pod = bed.get(SYSTEM, part)["spec"]["template"].clone();
        pod["spec"]["serviceAccountName"] = "default".into();
        pod["spec"]["priorityClassName"] = "".into();
        pod["metadata"]["name"] = "copy".into();
        pod["apiVersion"] = "v1".into();
        pod["kind"] = "Pod".into();
        let create = [
            "-n",
            "e2e-restricted",
            "create",
            "--dry-run=server",
            "-f",
            "-",
        ];
        bed.tools.try_kubectl_with(create, &pod.to_string())
    };
    for part in [
        "deployment/keystead-controller",
        "deployment/keystead-server",
    ] {
        let made = may_run(part);
        assert!(made.is_ok(), "{made:?}");
    }
    let refused = may_run("daemonset/keystead-node").expect_err("it mounts");
    assert!(refused.contains("restricted"), "{refused}");
    drop(restricted);
    let pods = bed.operator_pods();
    assert_eq!(pods.len(), 2, "{pods:?}");
    let deployment = bed.get(SYSTEM, "deployment/keystead-controller");
    assert_eq!(deployment["status"]["readyReplicas"], 2, "{deployment:#}");
    assert!(pods.contains_key(&bed.leader()));

    let budget = bed.get(SYSTEM, "poddisruptionbudget/keystead-controller");
    assert_eq!(budget["status"]["expectedPods"], 2, "{budget:#}");
    assert_eq!(budget["status"]["disruptionsAllowed"], 1, "{budget:#}");

    let guard = bed.get("default", &format!("namespace/{SYSTEM}"));
    assert_eq!(guard["metadata"]["labels"]["keystead.dev/guard"], "enabled");
}

#[test]
fn each_replica_answers_kubelet_and_the_metrics_service() {
    let bed = Turn::take();
    let namespace = Namespace::create(&bed, "e2e-metrics");
    let url = format!("http://keystead-metrics.{SYSTEM}.svc:8080/metrics");
    let output = run_in_busybox(&bed, "e2e-metrics", &format!("wget -qO- {url}"));
    let value = |name: &str| {
        let line = output.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {output}"))
    };
    assert!(value("keystead_build_info").contains("version="));
    let leader = value("keystead_leader ");
    assert!(["keystead_leader 0", "keystead_leader 1"].contains(&leader));

    // Probes: a pod is Ready only when its own readiness path said so.
    let ready = "--for=condition=Ready";
    bed.tools
        .kubectl(["-n", SYSTEM, "wait", "pod", "-l", PODS, ready, TIMEOUT]);
    drop(namespace);
}

/// What a shell command prints in a pod.
fn run_in_busybox(bed: &Bed, namespace: &str, command: &str) -> String {
    let image = bed.target.busybox();
    bed.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: once, namespace: {namespace}}}
spec:
  restartPolicy: OnFailure
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: main, image: \"{image}\", command: [sh, -c, \"{command}\"]}}
"
    ));
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    bed.tools
        .kubectl(["-n", namespace, "wait", "pod/once", done, TIMEOUT]);
    bed.tools.kubectl(["-n", namespace, "logs", "once"])
}

#[test]
fn the_image_runs_alone_as_its_own_numeric_user() {
    let bed = Turn::take();
    let _namespace = Namespace::create(&bed, "e2e-image");
    // kubelet refuses a root or named user here, and nobody but the image says which user it is.
    bed.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: alone, namespace: e2e-image}}
spec:
  restartPolicy: Never
  securityContext: {{runAsNonRoot: true}}
  containers:
  - {{name: main, image: \"{}\", args: [--version]}}
",
        bed.image
    ));
    let done = "--for=jsonpath={.status.phase}=Succeeded";
    bed.tools
        .kubectl(["-n", "e2e-image", "wait", "pod/alone", done, TIMEOUT]);
    let said = bed.tools.kubectl(["-n", "e2e-image", "logs", "alone"]);
    assert_eq!(said.trim(), concat!("keystead ", env!("CARGO_PKG_VERSION")));
    if matches!(bed.target, Target::Foreign { .. }) {
        println!("NOT CHECKED: the user's number, which older container runtimes do not report");
        return;
    }
    let pod = bed.get("e2e-image", "pod/alone");
    let user = &pod["status"]["containerStatuses"][0]["user"]["linux"]["uid"];
    assert_eq!(user, 65532, "{:#}", pod["status"]);
}

/// Case B11 (3).
#[test]
fn an_upgrade_that_changes_nothing_rolls_nothing() {
    let bed = Turn::take();
    let before = (bed.operator_pods(), generation(&bed));
    bed.helm_with_chart("upgrade", RELEASE);
    let chart = repository().join("charts/keystead").display().to_string();
    let reuse = ["upgrade", RELEASE, &chart, "-n", SYSTEM, "--reuse-values"];
    bed.tools.helm(reuse);
    bed.rolled_out();
    assert_eq!((bed.operator_pods(), generation(&bed)), before);
}

fn generation(bed: &Bed) -> String {
    let deployment = bed.get(SYSTEM, "deployment/keystead-controller");
    deployment["metadata"]["generation"].to_string()
}

#[test]
fn helm_test_proves_a_round_trip_again_and_again() {
    let bed = Turn::take();
    for _ in 0..2 {
        let printed = bed.tools.helm(["test", RELEASE, "-n", SYSTEM, TIMEOUT]);
        assert!(printed.contains("Phase:          Succeeded"), "{printed}");
        assert!(!printed.contains("Failed"), "{printed}");
        // Nothing of it stays.
        eventually("the test's namespace is gone", || {
            let left = bed.tools.kubectl([
                "get",
                "namespace",
                "keystead-test",
                "--ignore-not-found",
                "-o",
                "name",
            ]);
            left.is_empty().then_some(())
        });
    }
}
