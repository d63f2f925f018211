//! Calls the plugin as kubelet does: over its sockets.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::json;
use tokio::net::UnixStream;
use tonic::Status;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::node::wire::{Empty, MountVolume, PublishRequest, UnpublishRequest, VolumeCapability};

/// Where kubelet puts tokens.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Connects to a unix socket.
#[derive(Clone)]
struct ToSocket(PathBuf);

impl Service<Uri> for ToSocket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { Ok(TokioIo::new(UnixStream::connect(path).await?)) })
    }
}

/// A volume of a pod of namespace `shop`.
#[derive(Clone)]
pub(in crate::node) struct Asked {
    pub(in crate::node) pod: &'static str,
    pub(in crate::node) volume: &'static str,
    pub(in crate::node) attributes: Vec<(&'static str, &'static str)>,
    pub(in crate::node) group: &'static str,
    pub(in crate::node) token: String,
}

impl Asked {
    /// One of secret `db`.
    pub(in crate::node) fn db(pod: &'static str) -> Self {
        Self {
            pod,
            volume: "v",
            attributes: vec![("secret", "db")],
            group: "",
            token: format!("token of pod {pod}"),
        }
    }
}

/// kubelet.
pub(in crate::node) struct FakeKubelet {
    pub(in crate::node) root: PathBuf,
}

impl FakeKubelet {
    /// One with that root folder.
    pub(in crate::node) fn new(root: &Path) -> Self {
        let root = root.to_owned();
        Self { root }
    }

    /// The socket of the plugin.
    pub(in crate::node) fn plugin(&self) -> PathBuf {
        self.root.join("plugins/secrets.keystead.dev/csi.sock")
    }

    /// The socket by which it makes itself known.
    pub(in crate::node) fn registration(&self) -> PathBuf {
        self.root
            .join("plugins_registry/keystead@secrets.keystead.dev-reg.sock")
    }

    /// Where a volume is.
    pub(in crate::node) fn target(&self, pod: &str, volume: &str) -> PathBuf {
        let volumes = format!("pods/uid of {pod}/volumes/kubernetes.io~csi/{volume}");
        self.root.join(volumes).join("mount")
    }

    /// A file in a volume.
    pub(in crate::node) fn read(&self, asked: &Asked, path: &str) -> String {
        let file = self.target(asked.pod, asked.volume).join(path);
        fs::read_to_string(file).unwrap_or_default()
    }

    /// `NodePublishVolume`.
    pub(in crate::node) async fn publish(&self, asked: &Asked) -> Result<(), Status> {
        let target = self.target(asked.pod, asked.volume);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let pod = [
            ("csi.storage.k8s.io/pod.name", asked.pod.to_owned()),
            ("csi.storage.k8s.io/pod.namespace", "shop".to_owned()),
            (
                "csi.storage.k8s.io/pod.uid",
                format!("uid of {}", asked.pod),
            ),
            ("csi.storage.k8s.io/ephemeral", "true".to_owned()),
        ];
        let attributes = asked.attributes.iter();
        let attributes = attributes.map(|(name, value)| (*name, (*value).to_owned()));
        let named = |(name, value): (&str, String)| (name.to_owned(), value);
        let tokens = json!({"keystead.dev": {"token": asked.token}}).to_string();
        let mount = MountVolume {
            volume_mount_group: asked.group.to_owned(),
        };
        let request = PublishRequest {
            volume_id: format!("csi-{}-{}", asked.pod, asked.volume),
            target_path: target.display().to_string(),
            volume_capability: Some(VolumeCapability {
                block: None,
                mount: Some(mount),
            }),
            readonly: true,
            secrets: [named((TOKENS, tokens))].into(),
            volume_context: attributes.chain(pod).map(named).collect(),
        };
        let path = "/csi.v1.Node/NodePublishVolume";
        self.call::<_, Empty>(&self.plugin(), path, request)
            .await
            .map(|_| ())
    }

    /// `NodeUnpublishVolume`.
    pub(in crate::node) async fn unpublish(&self, asked: &Asked) -> Result<(), Status> {
        let target = self.target(asked.pod, asked.volume);
        let request = UnpublishRequest {
            volume_id: "whatever".to_owned(),
            target_path: target.display().to_string(),
        };
        let path = "/csi.v1.Node/NodeUnpublishVolume";
        self.call::<_, Empty>(&self.plugin(), path, request)
            .await
            .map(|_| ())
    }

    /// Any call.
    pub(in crate::node) async fn call<Question, Answer>(
        &self,
        socket: &Path,
        path: &'static str,
        question: Question,
    ) -> Result<Answer, Status>
    where
        Question: Message + 'static,
        Answer: Message + Default + 'static,
    {
        // Of its own services kubelet asks localhost; those of a registration it asks by the path, as Go's library escapes it.
        let host = if socket == self.registration() {
            let path = socket.display().to_string();
            path.replace('%', "%25").replace('/', "%2F")
        } else {
            "localhost".to_owned()
        };
        let endpoint = Endpoint::try_from(format!("http://{host}")).unwrap();
        let channel: Channel = endpoint
            .connect_with_connector(ToSocket(socket.to_owned()))
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let mut client = Grpc::new(channel);
        client
            .ready()
            .await
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let codec = ProstCodec::<Question, Answer>::default();
        let path = PathAndQuery::from_static(path);
        let answer = client
            .unary(tonic::Request::new(question), path, codec)
            .await?;
        Ok(answer.into_inner())
    }
}
