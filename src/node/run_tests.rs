//! The whole plugin: real sockets, real mounts, a server over TLS.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::json;
use tokio::task::JoinHandle;
use tonic::Code;

use super::*;
use crate::node::testing::{Asked, FakeKubelet, FakeServer, Files, eventually, may_mount, within};
use crate::node::tmpfs;
use crate::node::wire::{
    CapabilitiesResponse, Empty, NodeInfoResponse, PluginInfoResponse, ProbeResponse,
    RegistrationInfo, RegistrationStatus,
};

struct Plugin {
    stop: watch::Sender<bool>,
    task: JoinHandle<anyhow::Result<()>>,
    http: SocketAddr,
}

impl Plugin {
    async fn stop(self) {
        self.stop.send_replace(true);
        within(self.task).await.unwrap().unwrap();
    }

    /// As a kill does.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// A node with a plugin, and a server.
struct Node {
    files: Files,
    server: FakeServer,
    kubelet: FakeKubelet,
}

impl Node {
    async fn new() -> (Self, Plugin) {
        let files = Files::new();
        let server = FakeServer::start(&files.authorities()).await;
        fs::write(files.token(), "token of the plugin\n").unwrap();
        let kubelet = FakeKubelet::new(files.0.path());
        let node = Self {
            files,
            server,
            kubelet,
        };
        let plugin = node.start().await;
        (node, plugin)
    }

    async fn start(&self) -> Plugin {
        let free = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let http = free.local_addr().unwrap();
        drop(free);
        let config = Config {
            node: "node1".to_owned(),
            kubelet_root: self.kubelet.root.clone(),
            server: self.server.address.clone(),
            authorities: self.files.authorities(),
            token: self.files.token(),
            http,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(run(config, stopped));
        let (plugin, found) = (self.kubelet.plugin(), self.kubelet.registration());
        let answers = async |socket: &Path| tokio::net::UnixStream::connect(socket).await.is_ok();
        within(async {
            while !answers(&plugin).await || !answers(&found).await {
                assert!(!task.is_finished(), "the plugin must start");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        Plugin { stop, task, http }
    }

    fn is_mounted(&self, asked: &Asked) -> bool {
        tmpfs::is_mounted(&self.kubelet.target(asked.pod, asked.volume)).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed must not leave mounts behind.
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let ours = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        for place in ours.map(|place| place.replace("\\040", " ")) {
            if Path::new(&place).starts_with(&self.kubelet.root) {
                let _ = tmpfs::remove(Path::new(&place));
            }
        }
    }
}

async fn get(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn kubelet_gets_to_know_the_plugin() {
    let (node, plugin) = Node::new().await;
    let (kubelet, found) = (&node.kubelet, node.kubelet.registration());
    assert!(get(plugin.http, "/livez").await.contains("200"));
    assert!(get(plugin.http, "/readyz").await.contains("503"));
    let path = "/pluginregistration.Registration/GetInfo";
    let info: RegistrationInfo = kubelet.call(&found, path, Empty {}).await.unwrap();
    assert_eq!(
        (info.kind.as_str(), info.name.as_str()),
        ("CSIPlugin", CSI_DRIVER)
    );
    assert_eq!(info.supported_versions, ["1.0.0"]);
    assert_eq!(Path::new(&info.endpoint), node.kubelet.plugin());
    let registered = RegistrationStatus {
        plugin_registered: true,
        error: String::new(),
    };
    let path = "/pluginregistration.Registration/NotifyRegistrationStatus";
    kubelet
        .call::<_, Empty>(&found, path, registered)
        .await
        .unwrap();
    assert!(get(plugin.http, "/readyz").await.contains("200"));

    let called = node.kubelet.plugin();
    let info: PluginInfoResponse = kubelet
        .call(&called, "/csi.v1.Identity/GetPluginInfo", Empty {})
        .await
        .unwrap();
    assert_eq!(info.name, CSI_DRIVER);
    let probe: ProbeResponse = kubelet
        .call(&called, "/csi.v1.Identity/Probe", Empty {})
        .await
        .unwrap();
    assert!(probe.ready.unwrap().value);
    let this: NodeInfoResponse = kubelet
        .call(&called, "/csi.v1.Node/NodeGetInfo", Empty {})
        .await
        .unwrap();
    assert_eq!(this.node_id, "node1");
    let can: CapabilitiesResponse = kubelet
        .call(&called, "/csi.v1.Node/NodeGetCapabilities", Empty {})
        .await
        .unwrap();
    assert_eq!(can.capabilities[0].rpc.unwrap().kind, 6);
    let path = "/csi.v1.Node/NodeExpandVolume";
    let unknown = kubelet.call::<_, Empty>(&called, path, Empty {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
    plugin.stop().await;
    assert!(!found.exists(), "kubelet must see that nobody is there");
}

#[tokio::test]
async fn a_second_plugin_on_one_node_does_not_start() {
    let (node, plugin) = Node::new().await;
    let config = Config {
        node: "node1".to_owned(),
        kubelet_root: node.kubelet.root.clone(),
        server: node.server.address.clone(),
        authorities: node.files.authorities(),
        token: node.files.token(),
        http: ([127, 0, 0, 1], 0).into(),
    };
    let (_stop, stopped) = watch::channel(false);
    let refused = within(Box::pin(run(config, stopped))).await.unwrap_err();
    assert!(
        refused.to_string().contains("another process listens"),
        "{refused}"
    );
    plugin.stop().await;
}

#[tokio::test]
async fn a_volume_is_published_and_taken_away_without_a_trace() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server
        .put("db", "1", json!({"password": "s3cret", "user": "u"}));
    let asked = Asked::db("web-0");
    for _ in 0..2 {
        node.kubelet.publish(&asked).await.unwrap();
        assert_eq!(node.kubelet.read(&asked, "password"), "s3cret");
        assert!(node.is_mounted(&asked));
    }
    assert_eq!(
        node.server.calls("GetSecretFiles"),
        1,
        "the second time nothing is new"
    );
    for _ in 0..2 {
        node.kubelet.unpublish(&asked).await.unwrap();
        assert!(!node.kubelet.target(asked.pod, asked.volume).exists());
    }
    assert!(
        get(plugin.http, "/metrics")
            .await
            .contains("keystead_node_volumes 0")
    );
    plugin.stop().await;
}

#[tokio::test]
async fn modes_items_and_the_group_are_as_asked() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server
        .put("db", "1", json!({"password": "s3cret", "user": "u"}));
    let asked = Asked {
        attributes: vec![
            ("secret", "db"),
            (
                "items",
                r#"[{"key":"password","path":"conf/pw","mode":256}]"#,
            ),
        ],
        group: "2000",
        ..Asked::db("web-0")
    };
    node.kubelet.publish(&asked).await.unwrap();
    let target = node.kubelet.target(asked.pod, asked.volume);
    let file = fs::metadata(target.join("conf/pw")).unwrap();
    assert_eq!(
        (file.gid(), file.permissions().mode() & 0o777),
        (2000, 0o440)
    );
    assert!(!target.join("user").exists());
    node.kubelet.unpublish(&asked).await.unwrap();
    plugin.stop().await;
}

#[tokio::test]
async fn running_pods_follow_and_are_reported() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server
        .put("db", "1", json!({"password": "old", "gone": "x"}));
    let pods = [Asked::db("web-0"), Asked::db("web-1")];
    for asked in &pods {
        node.kubelet.publish(asked).await.unwrap();
    }
    let reported = |version: &str| {
        let has = node.server.has();
        pods.iter().all(|asked| {
            let uid = format!("uid of {}", asked.pod);
            has.reports.get(&uid) == Some(&json!({"db": version}))
        })
    };
    eventually("the first version is reported", || reported("1")).await;
    node.server.put("db", "2", json!({"password": "new"}));
    let follows = |asked: &Asked| node.kubelet.read(asked, "password") == "new";
    eventually("the files follow", || pods.iter().all(follows)).await;
    eventually("the second version is reported", || reported("2")).await;
    let gone = node.kubelet.target("web-0", "v").join("gone");
    assert!(!gone.exists());
    // Nobody asks again and again.
    let (fetched, polled) = (
        node.server.calls("GetSecretFiles"),
        node.server.calls("WatchSecrets"),
    );
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(node.server.calls("GetSecretFiles"), fetched);
    assert!(node.server.calls("WatchSecrets") <= polled + 1);
    assert_eq!(fetched, 4);
    plugin.stop().await;
}

#[tokio::test]
async fn refusals_are_told_so_that_kubelet_and_people_understand() {
    let (node, plugin) = Node::new().await;
    let asked = Asked::db("web-0");
    let refused = node.kubelet.publish(&asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(
        refused
            .message()
            .contains("secret db: there is no such secret"),
        "{refused}"
    );

    let unknown = Asked {
        attributes: vec![("secretName", "db")],
        ..asked.clone()
    };
    let refused = node.kubelet.publish(&unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("\"secretName\""), "{refused}");

    node.server.put("db", "1", json!({"a": "b"}));
    let no_key = Asked {
        attributes: vec![("secret", "db"), ("items", r#"[{"key":"pw","path":"pw"}]"#)],
        ..asked.clone()
    };
    let refused = node.kubelet.publish(&no_key).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("has no key \"pw\""), "{refused}");

    for (status, name, code) in [
        (400, "AccessDeniedException", Code::PermissionDenied),
        (400, "InvalidRequestException", Code::FailedPrecondition),
        (400, "ThrottlingException", Code::Unavailable),
        (503, "ServiceUnavailableException", Code::Unavailable),
        (400, "UnrecognizedClientException", Code::Unauthenticated),
    ] {
        node.server.has().refuses = Some((status, name, "because"));
        let refused = node.kubelet.publish(&asked).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (code, "secret db: because"),
            "{name}"
        );
    }
    node.server.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = node.kubelet.publish(&asked).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("cannot be reached"), "{refused}");
    let target = node.kubelet.target(asked.pod, asked.volume);
    assert!(!target.exists(), "nothing is left of what failed");
    let metrics = get(plugin.http, "/metrics").await;
    assert!(
        metrics.contains("operation=\"publish\",code=\"denied\""),
        "{metrics}"
    );
    assert!(metrics.contains("keystead_node_volumes 0"), "{metrics}");
    plugin.stop().await;
}

#[tokio::test]
async fn an_optional_secret_may_come_later() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    let asked = Asked {
        attributes: vec![("secret", "db"), ("optional", "true")],
        ..Asked::db("web-0")
    };
    node.kubelet.publish(&asked).await.unwrap();
    assert_eq!(node.kubelet.read(&asked, "a"), "");
    node.server.put("db", "1", json!({"a": "b"}));
    eventually("the files come", || node.kubelet.read(&asked, "a") == "b").await;
    plugin.stop().await;
}

#[tokio::test]
async fn the_server_is_told_which_volume_is_for_variables() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    node.server.has().kubelet_is_older = true;
    let variables = Asked {
        volume: "keystead-env-source",
        ..Asked::db("web-0")
    };
    let refused = node.kubelet.publish(&variables).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.message(), "secret db: the kubelet is older");
    assert!(!node.is_mounted(&variables));
    node.kubelet.publish(&Asked::db("web-0")).await.unwrap();

    node.server.has().kubelet_is_older = false;
    node.kubelet.publish(&variables).await.unwrap();
    assert_eq!(node.kubelet.read(&variables, "a"), "1");
    plugin.stop().await;
}

#[tokio::test]
async fn a_running_pod_keeps_its_files_whatever_happens_to_the_server() {
    if !may_mount() {
        return;
    }
    let (mut node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    let asked = Asked::db("web-0");
    node.kubelet.publish(&asked).await.unwrap();
    for (status, name) in [
        (400, "AccessDeniedException"),
        (400, "InvalidRequestException"),
    ] {
        node.server.has().refuses = Some((status, name, "because"));
        let before = node.server.calls("GetSecretFiles");
        node.server.put("db", name, json!({"a": "2"}));
        eventually("it is tried", || {
            node.server.calls("GetSecretFiles") > before
        })
        .await;
        node.kubelet.publish(&asked).await.unwrap();
        assert_eq!(node.kubelet.read(&asked, "a"), "1");
    }
    node.server.has().refuses = None;
    node.server.remove("db");
    node.server.stop();
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.kubelet.publish(&asked).await.unwrap();
    assert_eq!(node.kubelet.read(&asked, "a"), "1");
    node.server.put("db", "3", json!({"a": "3"}));
    let authorities = node.files.authorities();
    node.server.start_again(&authorities).await;
    eventually("it follows again", || node.kubelet.read(&asked, "a") == "3").await;
    plugin.stop().await;
}

#[tokio::test]
async fn a_token_that_is_used_up_is_replaced_by_the_next_republish() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    let asked = Asked::db("web-0");
    node.kubelet.publish(&asked).await.unwrap();
    let old = Asked {
        token: "expired".to_owned(),
        ..asked.clone()
    };
    node.kubelet.publish(&old).await.unwrap();
    let before = node.server.calls("GetSecretFiles");
    node.server.put("db", "2", json!({"a": "2"}));
    eventually("it is tried", || {
        node.server.calls("GetSecretFiles") > before
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        node.server.calls("GetSecretFiles"),
        before + 1,
        "once is enough"
    );
    assert_eq!(node.kubelet.read(&asked, "a"), "1");
    node.kubelet.publish(&asked).await.unwrap();
    eventually("it follows", || node.kubelet.read(&asked, "a") == "2").await;
    plugin.stop().await;
}

#[tokio::test]
async fn after_a_kill_pods_have_their_files_and_follow_again() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    let (web, other) = (Asked::db("web-0"), Asked::db("other"));
    for asked in [&web, &other] {
        node.kubelet.publish(asked).await.unwrap();
    }
    plugin.kill().await;
    assert_eq!(node.kubelet.read(&web, "a"), "1");
    node.server.put("db", "2", json!({"a": "2"}));
    node.server.has().reports.clear();
    let plugin = node.start().await;
    // It does not know this volume.
    node.kubelet.unpublish(&other).await.unwrap();
    assert!(!node.kubelet.target(other.pod, other.volume).exists());
    assert_eq!(node.kubelet.read(&web, "a"), "1");
    node.kubelet.publish(&web).await.unwrap();
    eventually("it follows", || node.kubelet.read(&web, "a") == "2").await;
    let uid = format!("uid of {}", web.pod);
    eventually("it is reported", || {
        node.server.has().reports.get(&uid) == Some(&json!({"db": "2"}))
    })
    .await;
    plugin.stop().await;
    assert_eq!(
        node.kubelet.read(&web, "a"),
        "2",
        "a stop leaves mounts alone"
    );
}

#[tokio::test]
async fn a_volume_that_was_left_empty_is_filled() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    let asked = Asked::db("web-0");
    let target = node.kubelet.target(asked.pod, asked.volume);
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    tmpfs::mount(&target, crate::node::content::Room::default()).unwrap();
    node.kubelet.publish(&asked).await.unwrap();
    assert_eq!(node.kubelet.read(&asked, "a"), "1");
    node.kubelet.unpublish(&asked).await.unwrap();
    assert!(!target.exists());
    plugin.stop().await;
}

#[tokio::test]
async fn values_and_tokens_are_on_no_disk() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "C4N4RY"}));
    let asked = Asked {
        token: "token of pod C4N4RY".to_owned(),
        ..Asked::db("web-0")
    };
    node.kubelet.publish(&asked).await.unwrap();
    // Of the file system of the folder, without what is mounted in it.
    let device = fs::metadata(&node.kubelet.root).unwrap().dev();
    let mut folders = vec![node.kubelet.root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let status = fs::symlink_metadata(&path).unwrap();
            if status.dev() != device {
                continue;
            }
            if status.is_dir() {
                folders.push(path);
            } else if status.is_file() {
                let text = fs::read(&path).unwrap();
                assert!(!text.windows(6).any(|part| part == b"C4N4RY"), "{path:?}");
            }
        }
    }
    plugin.stop().await;
}

#[tokio::test]
async fn many_pods_at_once_are_all_served() {
    if !may_mount() {
        return;
    }
    let (node, plugin) = Node::new().await;
    node.server.put("db", "1", json!({"a": "1"}));
    let names: Vec<&'static str> = (0..100)
        .map(|number| &*Box::leak(format!("web-{number}").into_boxed_str()))
        .collect();
    let pods: Vec<_> = names.iter().map(|name| Asked::db(name)).collect();
    let published = futures::future::join_all(pods.iter().map(|asked| node.kubelet.publish(asked)));
    assert!(within(published).await.iter().all(Result::is_ok));
    assert!(
        pods.iter()
            .all(|asked| node.kubelet.read(asked, "a") == "1")
    );
    eventually("all are reported", || {
        node.server.has().reports.len() == 100
    })
    .await;
    let removed = futures::future::join_all(pods.iter().map(|asked| node.kubelet.unpublish(asked)));
    assert!(within(removed).await.iter().all(Result::is_ok));
    assert!(!pods.iter().any(|asked| node.is_mounted(asked)));
    plugin.stop().await;
}
